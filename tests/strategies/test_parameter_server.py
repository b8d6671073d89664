"""Backup workers and the server's own optimiser: closed forms and identities."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.jitters.shifted_exponential import ShiftedExponential
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, run, small_scenario

SECOND = 1000 * MS


def harmonic(n):
    return sum(1 / k for k in range(1, n + 1))


def played(strategy, nodes, steps, machine, stragglers=(), network=None, **changes):
    """Return the clock plane of ``steps`` steps, at no cost of talking unless asked."""
    scenario = small_scenario(
        strategy,
        task=Task(model=Quadratic(dimension=1), data=Gaussian()),
        cluster=Cluster(nodes=nodes, machine=machine, stragglers=stragglers),
        network=network or Instant(),
        evaluate_every=10**6,
        **{"stop": Stop(updates=steps), **changes},
    )
    simulation = Simulation(scenario, "law", 0)
    while simulation.ended_by is None:
        simulation.advance()
    return simulation


def step_times_s(strategy, nodes, steps, machine):
    ends_ns = [row.time_ns for row in played(strategy, nodes, steps, machine).updates]
    return np.diff([0, *ends_ns]) / SECOND


def assert_mean(drawn, expected):
    error = 4 * drawn.std() / math.sqrt(len(drawn)) / drawn.mean()
    assert drawn.mean() == pytest.approx(expected, rel=max(0.01, error))


@pytest.mark.parametrize(("backups", "seconds"), [(0, 5.18738), (4, 3.10404)])
def test_any_n_of_n_plus_b_exponential_workers(backups, seconds):
    """theta (H_{N+b} - H_b); a fleet of 100."""
    assert harmonic(100) - harmonic(backups) == pytest.approx(seconds, abs=1e-5)
    machine = Fixed(step_time=SECOND, jitter=Exponential())
    assert_mean(step_times_s(ParameterServer(backup_workers=backups), 100, 80, machine), seconds)


def test_a_step_is_an_order_statistic_of_any_law_since_backups_begin_anew():
    """For each step, the third of four factors of that very step, drawn beforehand."""
    jitter = LogNormal(sigma=1.0)
    machine = Fixed(step_time=SECOND, jitter=jitter)
    found = step_times_s(ParameterServer(backup_workers=1), 4, 100, machine)
    expected = [sorted(jitter.factor(0, rank, step) for rank in range(4))[2] for step in range(100)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("theta", "fewer", "best", "more"), [(0.05, 1, 4, 8), (0.2, 6, 12, 18)])
def test_the_best_number_of_backup_workers(theta, fewer, best, more):
    """Fleet of 100, 1 + Exp(theta) seconds: least E[T] per gradient used."""
    jitter = ShiftedExponential(floor=1 / (1 + theta))
    machine = Fixed(step_time=round((1 + theta) * SECOND), jitter=jitter)
    cost = {
        backups: step_times_s(ParameterServer(backup_workers=backups), 100, 40, machine).mean()
        / (100 - backups)
        for backups in (fewer, best, more)
    }
    assert min(cost, key=cost.get) == best


def test_what_a_dropped_worker_computed_is_undone_when_the_news_come():
    """Worker 2 takes 5 s where the others take 1 s: it never pushes, and is never idle."""
    slow = (Persistent(nodes=(2,), slowdown=5.0),)
    machine = Fixed(step_time=SECOND, jitter=Constant())
    simulation = played(ParameterServer(backup_workers=1), 3, 6, machine, slow)
    assert [row.time_ns for row in simulation.updates] == [k * SECOND for k in range(1, 7)]
    assert {each.sender for each in simulation.world.messages if each.tag == "push"} == {0, 1}
    assert [work for work in simulation.work if work[0] == 2] == [
        (2, k * SECOND, (k + 1) * SECOND) for k in range(5)
    ]


def test_a_push_that_comes_too_late_is_dropped():
    """Worker 1 is done 1 ms after worker 0, while the news are on their 10 ms of way."""
    slow = (Persistent(nodes=(1,), slowdown=1.01),)
    machine = Fixed(step_time=100 * MS, jitter=Constant())
    network = Star(bandwidth=10**11, latency=10 * MS)
    task = Task(
        model=Quadratic(dimension=1, optimum=(3.0, -5.0)),
        data=Gaussian(),
        batch_size=1,
        dtype="float64",
    )
    scenario = small_scenario(
        ParameterServer(backup_workers=1),
        task=task,
        cluster=Cluster(nodes=2, machine=machine, stragglers=slow),
        network=network,
        stop=Stop(updates=5),
        evaluate_every=1,
    )
    outcome = run(scenario)
    assert sum(each.tag == "push" for each in outcome.messages) == 5 + 5
    assert outcome.summary["samples"] == 5
    assert outcome.summary["unread_messages"] == 0
    # Worker 0 alone, with its own optimum at 3, from 1 at a rate of 0.1.
    x = 3 - 2 * 0.9 ** np.arange(6)
    expected = ((x - 3) ** 2 + (x + 5) ** 2) / 4
    assert [each.loss for each in outcome.evaluations] == pytest.approx(list(expected), rel=1e-9)


def test_samples_count_what_is_used():
    used = 5  # samples: 5 of 8 workers, batches of 1
    outcome = run(
        small_scenario(
            ParameterServer(combine="gradients", backup_workers=3),
            cluster=Cluster(nodes=8, machine=Fixed(step_time=20 * MS)),
            stop=Stop(samples=20 * used),
            evaluate_every=1,
        )
    )
    assert outcome.summary["stopped_by"] == "samples"
    assert outcome.summary["samples"] == 20 * used
    assert [each.samples for each in outcome.evaluations] == [used * k for k in range(21)]


def test_the_optimizer_of_the_server_is_that_of_the_task_if_it_is_the_same():
    def outcome(task_optimizer, **strategy):
        task = Task(
            model=Quadratic(dimension=30, noise=0.3), data=Gaussian(), optimizer=task_optimizer
        )
        server = ParameterServer(combine="gradients", **strategy)
        return run(small_scenario(server, task=task, stop=Stop(updates=20)))

    own = outcome(SGD(), optimizer=AdamW(learning_rate=0.03))
    tasks = outcome(AdamW(learning_rate=0.03))
    assert own.summary["parameters_sha256"] == tasks.summary["parameters_sha256"]
    assert own.evaluations == tasks.evaluations
    assert own.messages == tasks.messages
    assert own.summary["parameters_sha256"] != outcome(SGD()).summary["parameters_sha256"]


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ({"optimizer": SGD()}, "optimizer", "needs combine: gradients; got combine: parameters"),
        (
            {"combine": "gradients", "optimizer": SGD(), "learning_rate": 0.1},
            "learning_rate",
            "has no effect: the optimizer has one of its own",
        ),
    ],
)
def test_what_has_no_effect_is_refused(keys, key, says):
    with pytest.raises(ValidationError) as caught:
        ParameterServer(**keys)
    assert caught.value.errors()[0]["loc"] == (key,)
    assert caught.value.errors()[0]["msg"] == says


def test_not_all_workers_can_be_backups():
    with pytest.raises(ValidationError) as caught:
        small_scenario(ParameterServer(backup_workers=4))
    error = caught.value.errors()[0]
    assert error["loc"] == ("strategies", "law", "backup_workers")
    assert error["msg"] == (
        "expected fewer than the 4 nodes of the cluster, which they are among; got 4"
    )


@pytest.mark.parametrize(
    "strategy",
    [
        ParameterServer(backup_workers=1),
        ParameterServer(backup_workers=2, server=0),
        ParameterServer(backup_workers=1, combine="gradients"),
        ParameterServer(combine="gradients", optimizer=SGD(learning_rate=0.02, momentum=0.5)),
    ],
    ids=str,
)
def test_laws_with_other_settings(strategy):
    testing.check_strategy(strategy)
