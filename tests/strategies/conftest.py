"""Noisy bowls on three equal nodes, and what each node holds after each step."""

import numpy as np
import pytest

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.execution.threads import ThreadExecutor
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.testing import MS, run, small_scenario

STEP_NS = 10 * MS


def _bowls(strategy, steps=24, optimizer=None, network=None, **model):
    task = Task(
        model=Quadratic(**{"dimension": 3, "noise": 0.5, "optimum": (0.0, 1.0, 3.0), **model}),
        data=Gaussian(),
        optimizer=optimizer or SGD(learning_rate=0.1),
        dtype="float64",
    )
    return small_scenario(
        strategy,
        task=task,
        cluster=Cluster(nodes=3, machine=Fixed(step_time=STEP_NS, jitter=Constant())),
        evaluate_every=1,
        stop=Stop(updates=steps),
        **({"network": network} if network else {}),
    )


@pytest.fixture(scope="session")
def bowls():
    """Make a scenario: an unlike, noisy quadratic on each of three nodes of 10 ms a step."""
    return _bowls


@pytest.fixture(scope="session")
def outcome():
    """Run a strategy on the bowls."""
    return lambda *args, **settings: run(_bowls(*args, **settings))


@pytest.fixture(scope="session")
def losses(outcome):
    """Run a strategy on the bowls; return the losses after each step, the first one before any."""
    return lambda *args, **settings: np.array(
        [each.loss for each in outcome(*args, **settings).evaluations]
    )


def _published(scenario, seed):
    """Run a scenario; return all that was published, by progress and rank."""
    simulation = Simulation(scenario, next(iter(scenario.strategies)), seed)
    recipes = {}

    def note(rank, model, progress, *_):
        recipes[progress, rank] = model.recipe

    record, world = simulation.world.publish, simulation.world
    world.publish = lambda *each: (note(*each), record(*each))
    while simulation.advance():
        pass
    executor = ThreadExecutor(1)
    try:
        return {place: executor.start(each).result().numpy() for place, each in recipes.items()}
    finally:
        executor.close()


def _replicas(scenario, seed=0):
    published = _published(scenario, seed)
    nodes, steps = scenario.cluster.nodes, scenario.stop.updates
    return np.array([[published[k, rank] for rank in range(nodes)] for k in range(1, steps + 1)])


def _versions(scenario, seed=0):
    published = _published(scenario, seed)
    steps = range(1, scenario.stop.updates + 1)
    return np.array([np.mean([x for (k, _), x in published.items() if k == s], 0) for s in steps])


@pytest.fixture(scope="session")
def replicas():
    """Run a scenario; return all replicas, of shape (steps, nodes, dimension)."""
    return _replicas


@pytest.fixture(scope="session")
def versions():
    """Run a scenario; return what the server holds, or the replicas' mean: (updates, dimension)."""
    return _versions
