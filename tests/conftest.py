"""Hypothesis profiles, Ray, and a stage on which a few lines of test stand in for a strategy."""

import gc
import importlib.util
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import ClassVar, Literal

import pytest
import ray
from hypothesis import settings

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.node import Node, Steps
from simbench.records import RunFolder
from simbench.run import run
from simbench.scenario import Scenario, Stop
from simbench.simulation import Simulation
from simbench.strategies.averaging import Averaging
from simbench.strategy import ServerPlace, Strategy

settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.register_profile("nightly", deadline=None, max_examples=500, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)

# They hold no doctests, and as modules to search they would all have the same name.
collect_ignore_glob = ["*conftest.py"]

OPTIONAL = {"huggingface": ("transformers", "datasets")}
"""Kinds that take packages which the tests do without, and these packages."""

LONGEST = ("test_reference.py", "test_laws.py", "test_interruptions.py", "test_compile.py")
"""Files that others should run beside, not before: each is one worker's from start to end."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)
    # What is there by now stays: to look for garbage in it takes longer than most tests.
    gc.freeze()
    for item in items:
        if item.get_closest_marker("nightly") and PROFILE != "nightly":
            item.add_marker(pytest.mark.skip(reason="for HYPOTHESIS_PROFILE=nightly"))
        for kind in (getattr(item, "callspec", None) and item.callspec.id.split("-")) or ():
            for package in OPTIONAL.get(kind, ()):
                if importlib.util.find_spec(package) is None:
                    reason = f"{package} isn't installed: pip install simbench[huggingface]"
                    item.add_marker(pytest.mark.skip(reason=reason))


Part = Callable[[Node], Steps]


class Script(Strategy):
    """Plays what a test hands it."""

    kind: Literal["script"] = "script"
    worker: Part
    server: Part | None = None
    place: ServerPlace | tuple[ServerPlace, ...] | None = None

    counts: ClassVar[Literal["steps", "updates"]] = "steps"

    @property
    def server_place(self) -> ServerPlace | tuple[ServerPlace, ...] | None:
        return self.place

    def work(self, node: Node) -> Steps:
        yield from self.worker(node)

    def serve(self, node: Node) -> Steps:
        assert self.server is not None
        yield from self.server(node)


def scenario_of(nodes=2, network=None, dimension=10, step_ns=10, stop=None, **more):
    """Return a scenario of ``nodes`` fixed machines whose vectors have 4 * ``dimension`` bytes."""
    return Scenario(
        name="test",
        task=more.pop("task", None)
        or Task(model=Quadratic(dimension=dimension), data=Gaussian(), batch_size=1),
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=step_ns, jitter=Constant())),
        network=network or Instant(),
        strategies=more.pop("strategies", {"only": Averaging()}),
        stop=stop or Stop(updates=10**6),
        **more,
    )


@pytest.fixture(scope="session")
def scenario():
    """Make a small scenario on which only the clock matters."""
    return scenario_of


@pytest.fixture(scope="session")
def simulation():
    """Make the simulation of a scenario's only strategy; its clock stands at 0."""
    return lambda scenario: Simulation(scenario, "only", seed=0)


@pytest.fixture(scope="session")
def stage():
    """Play generator functions as the worker (and the server) of a strategy, until all is still."""

    def play(worker, *, server=None, place=None, until_still=True, **settings):
        if server is not None and place is None:
            place = "own_machine"
        script = Script(worker=worker, server=server, place=place)
        # The file's own choice of strategies doesn't know the script.
        scenario = scenario_of(**settings).model_copy(update={"strategies": {"script": script}})
        simulation = Simulation(scenario, "script", seed=0)
        while until_still and simulation.advance():
            pass
        return simulation

    return play


@pytest.fixture
def ran(tmp_path):
    """Run a scenario into a folder of its own, with an empty memo unless one is given."""
    numbers = itertools.count()

    def train(scenario, threads=1, memo=None, **options):
        folder = RunFolder(tmp_path / f"run-{next(numbers)}")
        executor = ThreadExecutor(threads)
        try:
            return run(scenario, executor, memo or Memo(None), folder, **options)
        finally:
            executor.close()

    return train


@pytest.fixture(scope="module")
def ray_here():
    """Start Ray with 2 cores for this process alone."""
    # Ray's sockets lie below it, whose paths must be short.
    temporary = tempfile.mkdtemp(prefix="sb-ray-", dir="/tmp")
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=temporary,
    )
    yield
    ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)
