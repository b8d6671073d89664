"""Actors of both kinds give the same bits as this process, hold what is live, fail aloud."""

import gc
import sys
import threading
import time
from dataclasses import dataclass

import cloudpickle
import numpy as np
import pytest
from ray.exceptions import RayActorError

from simbench.execution.actor import Program
from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor
from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Graph
from simbench.ray_cluster.executor import RayExecutor
from simbench.records import RunFolder
from simbench.run import differing_tables, run
from simbench.scenario import Scenario, Stop

# Actors can't import this file, so what it defines travels whole.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

NODES = 5


def scenario():
    machine = {"kind": "fixed", "step_time": "100 ms"}
    go_on = {"kind": "go_on", "detection": "50 ms"}
    restart = {"kind": "restart", "detection": "50 ms", "interval": "200 ms"}
    return Scenario.model_validate(
        {
            "name": "tiny",
            "task": {
                "model": {"kind": "gpt", "layers": 1, "width": 16, "heads": 2, "context": 16},
                "data": {"kind": "text", "validation_samples": 48},
                "batch_size": 2,
                "optimizer": {"kind": "adamw", "learning_rate": 0.003},
            },
            "cluster": {"nodes": NODES, "machine": machine},
            "network": {"kind": "star", "bandwidth": "10 Mbit/s", "latency": "1 ms"},
            "strategies": {
                "server": {"kind": "parameter_server", "combine": "gradients"},
                "shards": {
                    "kind": "parameter_server",
                    "combine": "gradients",
                    "servers": 2,
                    "server": "colocated",
                    "aggregator": {"kind": "median"},
                },
                "averaging": {"kind": "averaging", "period": 2},
                "asynchronous": {"kind": "asynchronous", "server": 1},
                "going on": {"kind": "averaging", "period": 2, "on_failure": go_on},
                "restarting": {"kind": "parameter_server", "on_failure": restart},
                "gathered": {"kind": "averaging", "compression": {"kind": "qsgd", "levels": 7}},
                "added up": {"kind": "slowmo", "period": 2, "compression": {"kind": "bf16"}},
            },
            "conditions": (
                {"kind": "node_failure", "nodes": (3,), "at": "250 ms", "until": "1 s"},
            ),
            "evaluate_every": 2,
            "stop": {"updates": 8},
            "seeds": (0,),
        },
        context=".",
    )


@pytest.fixture(scope="module")
def in_process(tmp_path_factory):
    executor = ThreadExecutor(2)
    try:
        return run(
            scenario(), executor, Memo(None), RunFolder(tmp_path_factory.mktemp("local") / "run")
        )
    finally:
        executor.close()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("ray", 5), id="1 Ray actor", marks=pytest.mark.ray),
        pytest.param(("ray", 2), id="3 Ray actors", marks=pytest.mark.ray),
        pytest.param(("processes", 1), id="1 process"),
        pytest.param(("processes", 3), id="3 processes"),
    ],
)
def actors(request):
    """Executors whose actors stand in for 5 nodes each, and for 2."""
    kind, number = request.param
    if kind == "ray":
        request.getfixturevalue("ray_here")
    executor = RayExecutor(NODES, number) if kind == "ray" else ProcessExecutor(NODES, number)
    yield executor
    executor.close()


@dataclass(frozen=True)
class Doing:
    """An operation of these tests: counts, or fails, or takes its time."""

    name: str
    effort: str = "heavy"

    @property
    def identity(self):
        return self.name

    def __call__(self, *inputs):
        if self.name == "fail":
            raise ZeroDivisionError("as it should")
        if self.name == "unpicklable":
            return threading.Lock()
        if self.name == "rest":
            time.sleep(0.2)
        return sum(inputs) + 1  # a recipe's arguments follow its inputs


def chain(graph, length, what="count", homes=(0,), last="count"):
    """Return the last of ``length`` recipes, each of which needs the one before."""
    recipe = None
    for index in range(length):
        doing = Doing(last if index == length - 1 else what)
        inputs = () if recipe is None else (recipe,)
        recipe = graph.recipe(doing, inputs, home=homes[index % len(homes)])
    return recipe


def held_by(executor):
    """Return how many results each actor keeps, having heard what nobody needs any more."""
    gc.collect()
    with executor._lock:
        executor._send([Program(executor._era) for _ in executor._actors])
    return executor._call_all("num_results")


def settle(question, expected):
    """Wait until ``question()`` gives ``expected``: what threads let go of takes a moment."""
    ends = time.monotonic() + 10
    while (answer := question()) != expected and time.monotonic() < ends:
        time.sleep(0.05)
    assert answer == expected


@pytest.mark.parametrize("kind", [pytest.param("ray", marks=pytest.mark.ray), "processes"])
def test_an_actor_that_dies_is_an_error_and_not_a_wait(kind, request):
    if kind == "ray":
        request.getfixturevalue("ray_here")
    executor = RayExecutor(2, 1) if kind == "ray" else ProcessExecutor(2, 2)
    graph = Graph()
    known = graph.recipe(Doing("count"), home=0)
    try:
        assert executor.start(known).result(30) == 1
        executor._actors[0].kill()
        settle(lambda: executor._ended is not None, expected=True)  # it takes a moment

        with pytest.raises((RayActorError, RuntimeError), match=r"died|has ended, with code -9"):
            executor.start(known).result(30)
        with pytest.raises((RayActorError, RuntimeError), match=r"died|has ended, with code -9"):
            executor.start(chain(graph, 3, homes=(1, 0))).result(30)
    finally:
        executor.close()


def test_actors_give_the_same_bits_as_this_process(actors, in_process, tmp_path):
    before = actors.operations_run.copy()

    on_actors = run(scenario(), actors, Memo(None), RunFolder(tmp_path / "run"))

    assert differing_tables(in_process, on_actors) == []
    assert (actors.operations_run - before)["gradient"] >= 2 * 8 * NODES + 8
    assert (
        in_process.provenance["operations"]["known"]
        == (on_actors.provenance["operations"]["known"])
    )
    assert in_process.provenance["fingerprint"] == on_actors.provenance["fingerprint"]


def test_a_longer_run_goes_on_from_a_moment_that_another_executor_kept(actors, tmp_path):
    short, long = (
        scenario().model_copy(update={"stop": Stop(updates=updates)}) for updates in (8, 12)
    )
    memo, pool = Memo(tmp_path / "cache"), ThreadExecutor(2)
    try:
        whole = run(long, pool, Memo(None), RunFolder(tmp_path / "whole"))
        run(short, pool, memo, RunFolder(tmp_path / "short"))

        longer = run(long, actors, memo, RunFolder(tmp_path / "longer"))
        again = run(long, pool, memo, RunFolder(tmp_path / "again"))
    finally:
        pool.close()
        memo.close()

    assert differing_tables(whole, longer) == []
    # 4 steps of the seven that count them and 4 updates of the other; and what was under way then,
    # which is up to 2 steps, or a gradient of each.
    most = 7 * (4 + 2) * NODES + 4 + NODES
    assert longer.provenance["operations"]["run"]["gradient"] <= most
    assert "gradient" not in again.provenance["operations"]["run"]


def test_nothing_is_kept_that_nobody_holds(actors, tmp_path):
    run(scenario(), actors, Memo(None), RunFolder(tmp_path / "run"))
    settle(lambda: sum(held_by(actors)), 0)
    graph = Graph()

    live = chain(graph, 50, homes=(0, 4))

    assert actors.start(live).result(30) == 50
    settle(lambda: sum(held_by(actors)), 1)
    assert actors.start(live).result(30) == 50  # fetched, not computed again
    del live
    settle(lambda: sum(held_by(actors)), 0)


def test_an_input_that_crosses_actors_is_kept_where_it_is_needed_and_no_longer(actors):
    actors.cancel()  # nodes are where they belong again
    graph = Graph()
    shared = graph.recipe(Doing("count"), home=0)
    assert actors.start(shared).result(30) == 1

    both = [graph.recipe(Doing("count"), (shared,), (rank,), home=rank) for rank in (2, 4)]
    assert [actors.start(each).result(30) for each in both] == [1 + 2 + 1, 1 + 4 + 1]

    num_actors = len(actors._actors)
    settle(lambda: sum(held_by(actors)), 3 if num_actors == 1 else 2 + 3)
    del shared
    # ``both`` have forgotten what they were made of.
    settle(lambda: sum(held_by(actors)), 2)


@pytest.mark.parametrize("homes", [(0,), (0, 4)], ids=["same node", "two nodes"])
def test_an_error_in_an_operation_reaches_who_waits(actors, homes):
    failing = chain(Graph(), 4, what="fail", homes=homes)

    with pytest.raises(ZeroDivisionError, match="as it should"):
        actors.start(failing).result(30)

    assert actors.start(chain(Graph(), 7, homes=homes)).result(30) == 7
    settle(lambda: sum(held_by(actors)), 0)


@pytest.mark.parametrize("last", ["unpicklable", "count"], ids=["for the driver", "for an actor"])
def test_what_cannot_be_sent_is_an_error_and_not_a_wait(actors, last):
    graph = Graph()
    lock = graph.recipe(Doing("unpicklable"), home=0)
    recipe = lock if last == "unpicklable" else graph.recipe(Doing(last), (lock,), home=4)

    with pytest.raises((RuntimeError, TypeError), match=r"lock|unsupported operand"):
        actors.start(recipe).result(30)

    assert actors.start(chain(Graph(), 2)).result(30) == 2


@pytest.mark.parametrize("homes", [(0,), (0, 4)], ids=["same node", "two nodes"])
def test_a_number_that_somebody_asks_for_late_comes_all_the_same(actors, homes):
    """Asked for while its call is under way, or when it is long done but still held."""
    graph, recipes = Graph(), []
    for index in range(6):
        inputs = tuple(recipes[-1:])
        recipes.append(
            graph.recipe(Doing("rest"), inputs, (index,), home=homes[index % len(homes)])
        )

    last = actors.start(recipes[-1])
    asked = [actors.start(recipe) for recipe in recipes[:-1]]

    expected = np.cumsum(np.arange(6) + 1).tolist()
    assert [future.result(30) for future in [*asked, last]] == expected
    assert actors.start(recipes[2]).result(30) == expected[2]


def test_the_driver_hears_of_nothing_but_what_somebody_waits_for(actors, monkeypatch):
    """A call costs about a millisecond, so there are far fewer of them than operations."""
    heard, sent = [], []
    hear, send = actors._hear, actors._send
    monkeypatch.setattr(actors, "_hear", lambda *told: (heard.append(told), hear(*told)))
    monkeypatch.setattr(actors, "_send", lambda programs: (sent.append(programs), send(programs)))

    assert actors.start(chain(Graph(), 400, homes=(0, 4))).result(30) == 400

    assert len(heard) == 1
    assert len(sent) == 1


def test_what_is_light_and_combines_two_actors_is_computed_where_it_is_needed(actors):
    """Both need the sum of both, and neither waits for the other to add."""
    actors.cancel()
    graph, add = Graph(), Doing("count", effort="light")
    halves = [graph.recipe(Doing("count"), (), (rank,), home=rank) for rank in (0, 4)]
    total = graph.recipe(add, halves, home=0)
    ends = [graph.recipe(Doing("end"), (total,), (rank,), home=rank) for rank in (0, 4)]
    before = actors.operations_run

    both = graph.recipe(Doing("both"), ends, home=0)

    assert actors.start(both).result(30) == 2 * 7 + (0 + 1) + (4 + 1) + 1
    adders = min(2, len(actors._actors))
    assert (actors.operations_run - before)["count"] == 2 + adders


def test_cancelling_forgets_what_has_not_begun(actors):
    before = actors.operations_run
    graph = Graph()
    long = chain(graph, 30, what="rest")
    future = actors.start(long)

    actors.cancel()

    assert future.cancelled()
    assert actors.start(chain(Graph(), 3, homes=(1,))).result(30) == 3
    # What the actor had begun ended by itself.
    assert (actors.operations_run - before)["rest"] <= 2
    with pytest.raises(LookupError, match="given up with what was cancelled"):
        actors.start(long)
