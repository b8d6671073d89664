"""Delayed Nesterov: its equations by hand, and Nesterov's momentum as its limits."""

import pytest
import torch
from pydantic import ValidationError

from simbench.learning.optimizers.delayed_nesterov import DelayedNesterov
from simbench.learning.optimizers.sgd import SGD
from simbench.testing import check_optimizer


def path(optimizer, gradients):
    """Return where ``optimizer`` is after each of ``gradients``."""
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    stepper = optimizer.build([parameter])
    visited = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        stepper.step()
        visited.append(parameter.detach().clone())
    return torch.stack(visited)


@pytest.fixture
def gradients():
    return torch.randn(12, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize(("size", "c"), [(1, 0.0), (1, 1.0), (3, 0.0), (4, 0.25), (4, 0.1)])
def test_the_equations_by_hand(gradients, size, c):
    rate, beta = 0.3, 0.8
    x, m, gathered, expected = torch.zeros(3), torch.zeros(3), torch.zeros(3), []
    for number, gradient in enumerate(gradients, 1):
        gathered = gathered + gradient
        if number % size == 0:
            m, gathered = beta * m + gathered / size, torch.zeros(3)
            x = x - rate * ((1 - c * size + c) * beta * m + gradient / size)
        else:
            x = x - rate * (c * beta * m + gradient / size)
        expected.append(x)
    optimizer = DelayedNesterov(learning_rate=rate, momentum=beta, buffer=size, activation=c)
    found = path(optimizer, gradients)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_so_many_steps_are_one_of_nesterov_on_the_mean(gradients, size):
    delayed = path(DelayedNesterov(learning_rate=0.3, momentum=0.8, buffer=size), gradients)
    means = gradients.unflatten(0, (-1, size)).mean(1)
    nesterov = path(SGD(learning_rate=0.3, momentum=0.8, nesterov=True), means)
    torch.testing.assert_close(delayed[size - 1 :: size], nesterov, rtol=1e-12, atol=1e-12)


def test_it_meets_the_laws_with_its_momentum_spread_out():
    check_optimizer(DelayedNesterov(buffer=2, activation=0.5))


def test_more_momentum_between_than_there_is_is_refused():
    with pytest.raises(ValidationError, match=r"expected at most 1 / buffer = 0\.25"):
        DelayedNesterov(buffer=4, activation=0.3)
