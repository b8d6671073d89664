"""What a run is said to take, before it does."""

import threading
import time

import pytest

from simbench.estimate import Estimate, estimate
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.learning.operations import Gradient
from simbench.records import RunFolder
from simbench.run import run
from simbench.scenario import Stop
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

FAMILIES = {"server": ParameterServer(), "averaging": Averaging(), "apart": Asynchronous()}


@pytest.fixture
def executor():
    local = ThreadExecutor(2)
    yield local
    local.close()


@pytest.mark.parametrize(
    "stop",
    [Stop(updates=100), Stop(samples=400), Stop(virtual_time=10**6), Stop(loss=-1, updates=100)],
    ids=["updates", "samples", "virtual time", "loss never reached"],
)
def test_it_is_near_what_runs_until_the_budget(scenario, executor, tmp_path, stop):
    asked = scenario(nodes=4, step_ns=10**4, strategies=FAMILIES, stop=stop)
    memo = Memo(None)

    expected = estimate(asked, executor, memo)
    ran = run(asked, executor, memo, RunFolder(tmp_path / "run"))

    counts = ran.provenance["operations"]
    needed = sum(each["samples"] for each in ran.summary["runs"])  # a batch is one sample
    assert counts["run"]["gradient"] >= 100
    assert expected.gradients == pytest.approx(needed, rel=0.1)
    assert expected.gradients_known == 0
    assert expected.wall_s > 0
    assert expected.disk_bytes > 0
    assert str(expected).startswith(f"up to about {expected.gradients:,} gradients to compute")


@pytest.mark.parametrize("stop", [Stop(updates=20), Stop(loss=1.0, updates=1000)])
def test_what_is_known_needs_no_training(scenario, executor, tmp_path, stop):
    asked = scenario(strategies=FAMILIES, stop=stop, nodes=2)
    memo = Memo(None)
    ran = run(asked, executor, memo, RunFolder(tmp_path / "run"))

    expected = estimate(asked, executor, memo)

    needed = sum(each["samples"] for each in ran.summary["runs"])
    assert (expected.gradients, expected.gradients_known) == (0, needed)
    assert expected.wall_s == 0
    assert str(expected) == (f"nothing to train: the losses of all {needed:,} gradients are known")


def test_it_leaves_nothing_queued(scenario, executor):
    estimate(scenario(strategies=FAMILIES, stop=Stop(updates=20)), executor, Memo(None))
    timed = executor.operations_run

    time.sleep(0.1)

    assert timed["gradient"] >= 4  # two to warm up and two to be timed
    assert executor.operations_run == timed


def test_the_first_gradient_of_each_thread_is_not_taken_for_its_pace(
    scenario, executor, monkeypatch
):
    """It imports and draws data, which takes 100 times as long as a small gradient."""
    compute, own = Gradient.__call__, threading.local()

    def slow(*inputs):
        time.sleep(0.005 if hasattr(own, "is_warm") else 0.5)
        own.is_warm = True
        return compute(*inputs)

    monkeypatch.setattr(Gradient, "__call__", slow)
    asked = scenario(strategies={"only": Averaging()}, stop=Stop(updates=100), nodes=2)
    begun_s = time.perf_counter()

    expected = estimate(asked, executor, Memo(None))

    took_s = time.perf_counter() - begun_s
    assert (
        0.9 <= expected.wall_s / (expected.gradients / 2 * 0.005) <= 4
    )  # a busy machine sleeps longer
    assert took_s <= 0.5 + 2.5


def test_it_is_said_in_minutes_and_megabytes():
    assert str(Estimate(12_000, 34, 125.0, 2_500_000)) == (
        "up to about 12,000 gradients to compute until the budget ends, 34 known; "
        "the gradients alone take up to about 2 min 5 s here; 2.5 MB of records"
    )
