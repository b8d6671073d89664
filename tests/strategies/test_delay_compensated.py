"""DC-ASGD: its limits, its cure of a delay beyond the stable one, and its equations by hand."""

import math

import numpy as np
import pytest
import torch

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.operations_delay import Compensate, MeanSquare
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.scenario import Stop
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.delay_compensated import DelayCompensated
from simbench.testing import MS, check_strategy, run, small_scenario


def scenario(strategy, workers=4, rate=0.1, count=60, jitter=None, **changes):
    task = Task(
        model=Quadratic(dimension=1, noise=1.0),
        data=Gaussian(),
        batch_size=1,
        optimizer=SGD(learning_rate=rate),
        dtype="float64",
    )
    machine = Fixed(step_time=10 * MS, jitter=jitter or Constant())
    return small_scenario(
        strategy,
        **{
            "task": task,
            "cluster": Cluster(nodes=workers, machine=machine),
            "network": Instant(),
            "evaluate_every": 1,
            "stop": Stop(updates=count),
            **changes,
        },
    )


def losses(each):
    return np.array([row.loss for row in run(each).evaluations])


def test_without_compensation_it_is_asynchronous_sgd():
    ours, plain = (
        run(scenario(each, jitter=Exponential()))
        for each in (DelayCompensated(strength=0), Asynchronous())
    )
    assert ours.updates == plain.updates
    np.testing.assert_allclose(
        [row.loss for row in ours.evaluations],
        [row.loss for row in plain.evaluations],
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("variant", ["constant", "adaptive"])
def test_one_worker_is_sgd(variant):
    np.testing.assert_allclose(
        losses(scenario(DelayCompensated(variant=variant, strength=1), workers=1)),
        losses(scenario(Averaging(), workers=1)),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("variant", ["constant", "adaptive"])
def test_the_equations_by_hand(variant):
    """Two workers in lock-step, no noise, rate 1/4, c = 2, m = 1/2, from w = 1; g = w."""
    task = Task(
        model=Quadratic(dimension=1),
        data=Gaussian(),
        optimizer=SGD(learning_rate=0.25),
        dtype="float64",
    )
    strategy = DelayCompensated(variant=variant, strength=2, decay=0.5)
    found = losses(scenario(strategy, workers=2, count=8, task=task))
    w, read, square, expected = 1.0, [1.0, 1.0], 0.0, [0.5]
    for update in range(8):
        g = read[update % 2]
        square = square / 2 + g * g / 2
        c = 2 if variant == "constant" else 2 / math.sqrt(square + 1e-7)
        w = w - 0.25 * (g + c * g * g * (w - g))
        read[update % 2] = w
        expected.append(w * w / 2)
    np.testing.assert_allclose(found, expected[::2], rtol=1e-12, atol=1e-12)


def test_it_cures_a_delay_that_is_too_long():
    """tau = 8, rate .2 > .1845: c = 0 diverges for every seed, c = 1 for fewer than half."""
    seeds = range(6)

    def diverged(strength):
        count = 0
        for seed in seeds:
            strategy = DelayCompensated(strength=strength)
            each = scenario(
                strategy, workers=9, rate=0.2, count=2000, seeds=(seed,), evaluate_every=100
            )
            w = np.sqrt(2 * losses(each))
            # What isn't a number any more has gone beyond every bound.
            count += not (w <= 1e4).all()
        return count

    assert diverged(0) == len(seeds)
    assert diverged(1) < len(seeds) / 2


def test_staleness_is_that_of_asynchronous_training():
    rows = run(scenario(DelayCompensated(), workers=5, count=40)).updates
    assert [row.staleness_updates for row in rows] == [0, 1, 2, 3] + [4] * 36
    assert [row.node for row in rows[:5]] == [0, 1, 2, 3, 4]


def test_the_other_variant_meets_the_laws():
    check_strategy(DelayCompensated(variant="adaptive", strength=2))


def test_operations_change_nothing_and_are_named_by_their_settings():
    vectors = [torch.tensor([each, 2 * each]) for each in (3.0, 5.0, 7.0)]
    kept = [each.clone() for each in vectors]
    assert Compensate(0.5)(*vectors).tolist() == [3 - 0.5 * 9 * 2, 6 - 0.5 * 36 * 4]
    assert MeanSquare(0.25)(vectors[0], vectors[1]).tolist() == [8.0, 29.5]
    assert all(map(torch.equal, vectors, kept))
    assert Compensate(0.5).identity != Compensate(0.25).identity
    assert MeanSquare(0.5).identity != MeanSquare(0.25).identity
