"""Elastic averaging against its equations and the limit of stability."""

import math

import numpy as np
import pytest

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.scenario import Stop
from simbench.strategies.asynchronous_easgd import AsynchronousEASGD
from simbench.strategies.averaging import Averaging
from simbench.strategies.easgd import EASGD
from simbench.testing import MS, check_strategy, run, small_scenario


def outcome(strategy, rate, updates, optimum=(0.0,), nodes=1, **changes):
    scenario = small_scenario(
        strategy,
        task=Task(
            model=Quadratic(dimension=1, optimum=optimum),
            data=Gaussian(),
            batch_size=1,
            optimizer=SGD(learning_rate=rate),
            dtype="float64",
        ),
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=10 * MS, jitter=Constant())),
        evaluate_every=1,
        stop=Stop(updates=updates),
        **changes,
    )
    return run(scenario)


@pytest.mark.parametrize("delta", [0.0, 0.8])
@pytest.mark.parametrize("period", [1, 3])
def test_synchronous_steps_follow_the_equations(period, delta):
    optima, rate, alpha = np.array([0.0, 1.0, 5.0]), 0.2, 0.15
    strategy = EASGD(period=period, moving_rate=alpha, momentum=delta)
    found = outcome(strategy, rate, 15, tuple(optima), nodes=3).evaluations
    x, v, centre = np.ones(3), np.zeros(3), 1.0
    for step in range(15):
        meets = step % period == 0
        pull = alpha * (x - centre) if meets else 0
        if meets:
            centre = (1 - 3 * alpha) * centre + 3 * alpha * x.mean()
        v = delta * v - rate * (x + delta * v - optima)
        x = x + v - pull
        loss = np.mean((centre - optima) ** 2 / 2)
        assert found[step + 1].loss == pytest.approx(loss, rel=1e-12)


def test_it_sends_one_all_reduce_every_period():
    elastic = outcome(EASGD(period=5), 0.1, 18, nodes=4).summary["payload_bytes"]
    often = outcome(Averaging(), 0.1, 18, nodes=4).summary["payload_bytes"]
    # Exchanges before steps 6, 11 and 16: the first would move nothing.
    assert elastic * 18 == often * 3


@pytest.mark.parametrize("delta", [0.0, 0.7])
@pytest.mark.parametrize("period", [1, 3])
def test_round_robin_follows_the_equations(period, delta):
    """Equal workers in lock-step meet the centre in the order of ranks."""
    optima, rate, alpha, exchanges = np.array([0.0, 2.0]), 0.2, 0.15, 6
    strategy = AsynchronousEASGD(period=period, moving_rate=alpha, momentum=delta)
    count = 2 * exchanges
    rows = outcome(strategy, rate, count, tuple(optima), nodes=2, network=Instant()).evaluations
    found = {each.progress: each.loss for each in rows}
    x, v, centre = np.ones(2), np.zeros(2), 1.0
    for step in range(exchanges * period + 1):
        pull = np.zeros(2)
        if step and step % period == 0:
            for rank in range(2):
                pull[rank] = alpha * (x[rank] - centre)
                centre = centre + pull[rank]
            loss = np.mean((centre - optima) ** 2 / 2)
            assert found[2 * step // period] == pytest.approx(loss, rel=1e-12)
        v = delta * v - rate * (x + delta * v - optima)
        x = x + v - pull


def growth(nodes, rate, alpha):
    """Return by how much the log of the centre's peaks grows over the second half."""
    strategy = AsynchronousEASGD(period=1, moving_rate=alpha)
    found = outcome(strategy, rate, 400 * nodes, nodes=nodes, network=Instant()).evaluations
    centre = np.sqrt(2 * np.array([each.loss for each in found[1:]]))
    third, last = np.array_split(centre, 4)[2:]
    return math.log(last.max() / third.max())


def limit(rate):
    return (4 - 2 * rate) / (4 - rate)


@pytest.mark.parametrize("rate", [0.5, 1.0, 1.5])
def test_alone_it_is_stable_exactly_below_the_limit(rate):
    assert growth(1, rate, 0.99 * limit(rate)) < 0
    assert growth(1, rate, 1.01 * limit(rate)) > 0


@pytest.mark.parametrize("nodes", [2, 3, 5])
@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_round_robin_is_stable_below_it_for_any_number_of_workers(nodes, rate):
    assert growth(nodes, rate, 0.99 * limit(rate)) < 0


def test_two_workers_lose_stability_at_the_root_of_a_half():
    assert growth(2, 1.0, 0.99 / math.sqrt(2)) < 0
    assert growth(2, 1.0, 1.01 / math.sqrt(2)) > 0


def test_an_update_is_an_exchange_with_the_steps_before_it():
    found = outcome(AsynchronousEASGD(period=3), 0.1, 12, nodes=4, network=Instant())
    assert found.summary["samples"] == 36
    # Before anything else each worker has taken 3 steps of 10 ms.
    assert [update.time_ns for update in found.updates] == [30 * MS] * 4 + [60 * MS] * 4 + [
        90 * MS
    ] * 4
    assert {update.staleness_updates for update in found.updates[4:]} == {3}
    # Due every 4 batches; an exchange brings 3 of them.
    samples = [each.samples for each in found.evaluations]
    assert samples == [0, 6, 9, 12, 18, 21, 24, 30, 33, 36]


@pytest.mark.parametrize(
    "strategy",
    [
        EASGD(period=1, moving_rate=0.1, momentum=0.5),
        AsynchronousEASGD(period=1, server=0, momentum=0.5),
    ],
    ids=str,
)
def test_the_law_holds_with_other_settings(strategy):
    check_strategy(strategy)
