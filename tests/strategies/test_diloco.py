"""DiLoCo against local SGD, its own equations, and all-reduce's bytes."""

import numpy as np
import pytest

from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.strategies.averaging import Averaging
from simbench.strategies.diloco import DiLoCo
from simbench.testing import check_strategy

PLAIN = SGD(learning_rate=1.0)


@pytest.mark.parametrize("period", [1, 3, 8])
@pytest.mark.parametrize("optimizer", [SGD(learning_rate=0.1), AdamW(learning_rate=0.05)])
def test_an_outer_step_of_one_without_momentum_is_local_sgd(losses, period, optimizer):
    """x - 1 * (x - mean) is the mean but for the last bit."""
    np.testing.assert_allclose(
        losses(DiLoCo(period=period, outer=PLAIN), optimizer=optimizer),
        losses(Averaging(period=period), optimizer=optimizer),
        rtol=1e-12,
        atol=1e-12,
    )


def test_rounds_follow_algorithm_1_with_nesterov_momentum(losses):
    """Equal curvature and no noise: a round moves the mean by the same share of what is left."""
    period, rate = 5, 0.1
    found = losses(DiLoCo(period=period), steps=40, noise=0.0, optimum=(2.0,), dimension=1)
    x, velocity = 1.0, 0.0
    for number in range(1, 9):
        arrived = 2 + (1 - rate) ** period * (x - 2)
        velocity = 0.9 * velocity + (x - arrived)
        x -= 0.7 * ((x - arrived) + 0.9 * velocity)
        assert found[number * period] == pytest.approx((x - 2) ** 2 / 2, rel=1e-12)


@pytest.mark.parametrize("outer", [DiLoCo().outer, PLAIN], ids=["nesterov", "plain"])
def test_it_sends_as_averaging_does_and_a_period_th_of_all_reduce(outcome, outer):
    rare = outcome(DiLoCo(period=6, outer=outer))
    same, often = outcome(Averaging(period=6)), outcome(Averaging(period=1))
    assert often.summary["payload_bytes"] == 6 * rare.summary["payload_bytes"] > 0
    assert rare.updates == same.updates
    assert rare.messages == same.messages


def test_unequal_quadratics_end_at_the_fixed_point_of_local_sgd(losses):
    """sum (1-rho_i^H) c_i / sum (1-rho_i^H) whatever the outer optimiser, if it converges."""
    weights = 1 - (1 - 0.1 * np.array([1.0, 4.0, 1.0])) ** 4
    optima = np.array([0.0, 1.0, 0.0])
    expected = weights @ optima / weights.sum()
    curvature = np.array([1.0, 4.0, 1.0])
    loss = losses(
        DiLoCo(period=4),
        steps=1200,
        dimension=1,
        noise=0.0,
        curvature=tuple(curvature),
        optimum=tuple(optima),
    )[-1]
    assert loss == pytest.approx(np.mean(curvature * (expected - optima) ** 2 / 2), rel=1e-9)


def test_the_law_holds_with_adamw_outside():
    check_strategy(DiLoCo(period=4, outer=AdamW(learning_rate=0.2)))
