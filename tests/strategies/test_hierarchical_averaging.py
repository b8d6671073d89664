"""Hierarchical averaging is local SGD at its limits, and islands agree in between."""

import numpy as np
import pytest
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.strategies.averaging import Averaging
from simbench.strategies.hierarchical_averaging import HierarchicalAveraging
from simbench.testing import MS, check_strategy, run, small_scenario

RATE = 0.1
CURVATURE = np.array([1.0, 4.0, 2.0, 0.5, 3.0])
OPTIMUM = np.array([0.0, 1.0, 3.0, -1.0, 2.0])


def outcome(strategy, nodes=5, steps=24):
    scenario = small_scenario(
        strategy,
        task=Task(
            model=Quadratic(dimension=1, curvature=tuple(CURVATURE), optimum=tuple(OPTIMUM)),
            data=Gaussian(),
            optimizer=SGD(learning_rate=RATE),
            dtype="float64",
        ),
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=10 * MS, jitter=Constant())),
        evaluate_every=1,
        stop=Stop(updates=steps),
    )
    return run(scenario)


@pytest.mark.parametrize(
    "strategy",
    [
        HierarchicalAveraging(island=2, inner_period=4, outer_period=4),
        HierarchicalAveraging(island=5, inner_period=4, outer_period=12),
        HierarchicalAveraging(island=9, inner_period=4, outer_period=12),
        HierarchicalAveraging(island=1, inner_period=2, outer_period=4),
    ],
    ids=str,
)
def test_equal_periods_or_one_island_is_local_sgd_to_the_bit(strategy):
    found, expected = outcome(strategy), outcome(Averaging(period=4))
    assert [each.loss for each in found.evaluations] == [e.loss for e in expected.evaluations]
    assert found.summary["parameters_sha256"] == expected.summary["parameters_sha256"]


def test_islands_average_among_themselves_and_the_last_may_be_smaller():
    """Islands of 5 nodes by two: (0, 1), (2, 3), (4)."""
    found = outcome(HierarchicalAveraging(island=2, inner_period=3, outer_period=12))
    x = np.ones(5)
    for step in range(1, 25):
        x = x - RATE * CURVATURE * (x - OPTIMUM)
        if step % 12 == 0:
            x[:] = x.mean()
        elif step % 3 == 0:
            x[:2], x[2:4] = x[:2].mean(), x[2:4].mean()
        loss = np.mean(CURVATURE * (x.mean() - OPTIMUM) ** 2 / 2)
        assert found.evaluations[step].loss == pytest.approx(loss, rel=1e-12, abs=1e-12)


def test_between_islands_only_the_seldom_averaging_sends():
    strategy = HierarchicalAveraging(island=2, inner_period=1, outer_period=8)
    messages = outcome(strategy, nodes=4).messages
    inside = [each for each in messages if each.tag == "island"]
    assert all(each.sender // 2 == each.receiver // 2 for each in inside)
    # 24 steps: 3 averagings among all, whose ring crosses between islands, 21 within each island.
    among_all = [each for each in messages if each.tag != "island"]
    one_ring = len(outcome(Averaging(), nodes=4, steps=1).messages)
    assert len(among_all) == 3 * one_ring
    assert {each.sender // 2 for each in inside} == {0, 1}


def test_a_round_that_is_not_whole_is_refused():
    with pytest.raises(ValidationError, match="multiple of inner_period, which is 3; got 8"):
        HierarchicalAveraging(inner_period=3, outer_period=8)


def test_the_law_holds_with_an_island_that_is_left_over():
    check_strategy(HierarchicalAveraging(island=3, inner_period=1, outer_period=5))
