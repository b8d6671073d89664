"""What nobody needs any more is freed: memory is bounded by what is live, however long a run is."""

import gc
import weakref

import plug_ins
import pytest
import torch

from simbench.conditions.node_failure import NodeFailure
from simbench.execution.memo import Memo
from simbench.execution.memory import peak_resident_bytes
from simbench.execution.processes import ProcessExecutor
from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Graph
from simbench.learning.operations import Bench, Gradient, Mix
from simbench.learning.training import Training
from simbench.network.topologies.star import Star
from simbench.records import RunFolder
from simbench.run import run
from simbench.scenario import Stop
from simbench.simulation import Simulation, simulate
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

NODES = 4
FAMILIES = {"server": ParameterServer(), "averaging": Averaging(), "apart": Asynchronous()}


@pytest.fixture
def alive(monkeypatch):
    """Count gradients and sums that are alive, and the most that ever were at once."""
    vectors, most = weakref.WeakSet(), [0]

    def tracked(compute):
        def compute_and_note(*inputs):
            vector = compute(*inputs)
            vectors.add(vector)
            most[0] = max(most[0], len(vectors))
            return vector

        return compute_and_note

    for operation in (Gradient, Mix):
        monkeypatch.setattr(operation, "__call__", tracked(operation.__call__))
    return vectors, most


@pytest.mark.parametrize("strategy", FAMILIES)
def test_a_long_run_holds_no_more_than_a_short_one(scenario, alive, tmp_path, strategy):
    vectors, most = alive
    held = []
    for steps in (50, 500):
        most[0] = 0
        stop = Stop(samples=steps * NODES)
        asked = scenario(nodes=NODES, strategies=FAMILIES, stop=stop, evaluate_every=10)
        # What may be kept as a moment mustn't be held any longer than the rest.
        executor, memo = ThreadExecutor(1), Memo(tmp_path)
        simulate(asked, strategy, 0, executor, memo)
        executor.close()
        memo.close()
        held.append(most[0])

    # What is live at each of the evaluations under way, as threads have it; 500 steps make 4,000.
    assert max(held) <= 25 * NODES
    assert len(vectors) == 0


@pytest.mark.parametrize("strategy", plug_ins.every("strategies").values(), ids=lambda s: s.kind)
@pytest.mark.parametrize("conditions", [(), (NodeFailure(nodes=(1,), at=10**15),)], ids=len)
def test_a_world_that_runs_leaves_no_garbage(scenario, strategy, conditions):
    """What is garbage is held longer than needed, and counts as live in what is kept."""
    network, strategies = Star(), {"only": strategy}
    asked = scenario(nodes=NODES, network=network, strategies=strategies, conditions=conditions)
    world = Simulation(asked, "only", seed=0, observe=lambda _: 1.0)
    for _ in range(3):
        world.advance()
    gc.collect()

    for _ in range(20):
        world.advance()

    assert gc.collect() == 0


@pytest.fixture(scope="module")
def actors():
    executor = ProcessExecutor(NODES, 2)
    yield executor
    executor.close()


@pytest.mark.parametrize("strategy", FAMILIES)
def test_actors_hold_no_more_after_many_steps_than_after_few(scenario, actors, tmp_path, strategy):
    held = []
    memo = Memo(tmp_path)
    asked = scenario(nodes=NODES, strategies=FAMILIES, stop=Stop(samples=200 * NODES))

    simulate(
        asked,
        strategy,
        0,
        actors,
        memo,
        lambda _: held.append(sum(actors._call_all("num_results"))),
    )

    memo.close()
    third = len(held) // 3
    assert third >= 6
    assert max(held[2 * third :]) <= max(held[:third]) + NODES


def test_the_mean_of_256_vectors_holds_about_log_n_of_them(alive, scenario):
    vectors, most = alive
    asked = scenario(nodes=256)
    executor = ThreadExecutor(1)
    bench = Bench(asked.task, 0, 256, "cpu", "")
    training = Training(Graph(), bench, asked.task.optimizer)
    initial, _ = training.initial(0)
    mean = training.mix([training.gradient(initial, rank, 0) for rank in range(256)], None, 0)

    result = executor.start(mean).result()
    executor.close()

    assert torch.isfinite(result).all()
    assert most[0] <= 8 + 3  # log2 of 256, and those that are being added
    del mean, result
    gc.collect()
    assert len(vectors) == 0


class Looking(Averaging):
    """Computes ten gradients on each node; the first looks at the mean of three of its own."""

    def work(self, node):
        parameters, gradients = node.initial_state().parameters, []
        for _ in range(10):
            gradient = yield node.compute_gradient(parameters)
            gradients += [gradient]
        if node.rank == 0:
            yield node.observe(node.mix(*gradients[:3]))
            SEEN.append(EXECUTORS[-1].operations_run)
        yield node.wait(10**9)


SEEN, EXECUTORS = [], []


def test_observing_computes_what_it_rests_on_and_no_more(scenario):
    asked = scenario(stop=Stop(virtual_time=10**6)).model_copy(
        update={"strategies": {"looking": Looking()}}
    )
    EXECUTORS.append(ThreadExecutor(2))

    simulate(asked, "looking", 0, EXECUTORS[-1], Memo(None))
    EXECUTORS.pop().close()

    assert SEEN.pop()["gradient"] == 3


def test_the_record_says_how_much_memory_driver_and_actors_took(scenario, actors, tmp_path):
    asked = scenario(nodes=NODES, strategies={"only": Averaging()}, stop=Stop(updates=2))

    folder = run(asked, actors, Memo(None), RunFolder(tmp_path / "run"))

    peak = folder.provenance["peak_memory_bytes"]
    assert len(peak["actors"]) == 2
    for each in (peak["driver"], *peak["actors"]):
        assert 10 * 2**20 < each < 2**36


def test_peak_memory_is_in_bytes_and_never_shrinks():
    before = peak_resident_bytes()
    resident = 2 * before
    block = bytearray(resident)
    block[::4096] = bytes(len(block[::4096]))  # touch every page
    del block

    assert peak_resident_bytes() >= resident
