"""Asynchronous federated optimisation: its limit, its equations by hand, what it refuses."""

import numpy as np
import pytest
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.dampings.constant import ConstantDamping
from simbench.dampings.polynomial import PolynomialDamping
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.scenario import Stop
from simbench.strategies.averaging import Averaging
from simbench.strategies.fedasync import FedAsync
from simbench.testing import MS, run, small_scenario


def lock_step(strategy, workers, count, every=1, **model):
    return small_scenario(
        strategy,
        task=Task(
            model=Quadratic(**{"dimension": 1, **model}),
            data=Gaussian(),
            batch_size=1,
            optimizer=SGD(learning_rate=0.1),
            dtype="float64",
        ),
        cluster=Cluster(nodes=workers, machine=Fixed(step_time=10 * MS, jitter=Constant())),
        network=Instant(),
        evaluate_every=every,
        stop=Stop(updates=count),
    )


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_the_equations_by_hand(rho):
    """Three workers in lock-step, three local steps, mixing 0.6, damping (tau + 1)^-1/2."""
    optima = np.array([0.0, 1.0, 4.0])
    strategy = FedAsync(mixing=0.6, period=3, proximal=rho, damping=PolynomialDamping())
    found = run(lock_step(strategy, 3, 15, optimum=tuple(optima)))
    x, read, versions = 1.0, [1.0] * 3, [0] * 3
    expected = [np.mean((x - optima) ** 2 / 2)]
    for update in range(15):
        worker = update % 3
        y = read[worker]
        for _ in range(3):
            y -= 0.1 * (y - optima[worker] + rho * (y - read[worker]))
        alpha = 0.6 * (update - versions[worker] + 1) ** -0.5
        x = (1 - alpha) * x + alpha * y
        read[worker], versions[worker] = x, update + 1
        expected.append(np.mean((x - optima) ** 2 / 2))
    np.testing.assert_allclose([each.loss for each in found.evaluations], expected, rtol=1e-12)
    assert found.summary["samples"] == 15 * 3


def test_one_worker_whose_model_replaces_the_servers_trains_alone():
    strategy = FedAsync(mixing=1.0, period=4, damping=ConstantDamping())
    ours = run(lock_step(strategy, 1, 5, every=4, dimension=6, noise=0.5))
    alone = run(lock_step(Averaging(), 1, 20, every=4, dimension=6, noise=0.5))
    assert [(each.time_ns, each.samples, each.loss) for each in ours.evaluations] == [
        (each.time_ns, each.samples, each.loss) for each in alone.evaluations
    ]


def test_a_pull_that_no_step_feels_is_refused():
    with pytest.raises(ValidationError, match="has no effect with period 1"):
        FedAsync(period=1, proximal=0.1)
