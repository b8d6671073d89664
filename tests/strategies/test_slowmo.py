"""SlowMo against local SGD, heavy-ball SGD, and its own equations."""

import numpy as np
import pytest

from simbench.learning.optimizers.sgd import SGD
from simbench.strategies.averaging import Averaging
from simbench.strategies.slowmo import SlowMo
from simbench.testing import check_strategy


@pytest.mark.parametrize("momentum_inside", [0.0, 0.9])
@pytest.mark.parametrize("period", [1, 4])
def test_without_slow_momentum_it_is_local_sgd(losses, period, momentum_inside):
    inside = SGD(learning_rate=0.1, momentum=momentum_inside)
    np.testing.assert_allclose(
        losses(SlowMo(period=period, momentum=0.0), optimizer=inside),
        losses(Averaging(period=period), optimizer=inside),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("beta", [0.3, 0.9])
def test_with_period_one_it_is_heavy_ball_sgd_on_all_batches(losses, beta):
    np.testing.assert_allclose(
        losses(SlowMo(period=1, momentum=beta)),
        losses(Averaging(combine="gradients"), optimizer=SGD(learning_rate=0.1, momentum=beta)),
        rtol=1e-12,
        atol=1e-12,
    )


def test_rounds_follow_equations_2_and_3(losses):
    """With u as the paper has it, in units of gradients."""
    rate, beta, alpha, period = 0.1, 0.6, 0.8, 4
    strategy = SlowMo(period=period, momentum=beta, alpha=alpha)
    found = losses(strategy, noise=0.0, optimum=(2.0,), dimension=1)
    x, u = 1.0, 0.0
    for number in range(1, 7):
        arrived = 2 + (1 - rate) ** period * (x - 2)
        u = beta * u + (x - arrived) / rate
        x -= alpha * rate * u
        assert found[number * period] == pytest.approx((x - 2) ** 2 / 2, rel=1e-12)


def test_buffers_that_are_reset_forget_the_momentum_inside(losses):
    """With period 1, momentum inside never comes to act."""
    inside = SGD(learning_rate=0.1, momentum=0.9)
    reset = losses(SlowMo(period=1, buffers="reset"), optimizer=inside)
    np.testing.assert_allclose(reset, losses(SlowMo(period=1)), rtol=1e-12, atol=1e-12)
    assert not np.allclose(reset[3:], losses(SlowMo(period=1), optimizer=inside)[3:])


def test_the_law_holds_with_other_settings():
    check_strategy(SlowMo(period=4, momentum=0.7, alpha=0.9, buffers="reset"))
