"""Asynchronous training: how stale updates are, and how much they count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.dampings.constant import ConstantDamping
from simbench.dampings.hinge import HingeDamping
from simbench.dampings.inverse import InverseDamping
from simbench.dampings.polynomial import PolynomialDamping
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.ad_psgd import ADPSGD
from simbench.strategies.async_local_sgd import AsyncLocalSGD
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.asynchronous_easgd import AsynchronousEASGD
from simbench.strategies.delay_compensated import DelayCompensated
from simbench.strategies.fedasync import FedAsync
from simbench.strategies.fedbuff import FedBuff
from simbench.testing import MS, run, small_scenario


def scenario(strategy, workers=4, count=40, **changes):
    return small_scenario(
        strategy,
        **{
            "task": Task(
                model=Quadratic(dimension=1),
                data=Gaussian(),
                batch_size=1,
                optimizer=SGD(learning_rate=0.15),
                dtype="float64",
            ),
            "cluster": Cluster(nodes=workers, machine=Fixed(step_time=10 * MS, jitter=Constant())),
            "network": Instant(),
            "evaluate_every": 1,
            "stop": Stop(updates=count),
            **changes,
        },
    )


@pytest.mark.parametrize(
    ("damping", "weights"),
    [
        (ConstantDamping(), [1, 1, 1, 1, 1, 1]),
        (InverseDamping(), [1, 1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]),
        (PolynomialDamping(), [1, 2**-0.5, 3**-0.5, 1 / 2, 5**-0.5, 6**-0.5]),
        (PolynomialDamping(exponent=1), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]),
        (PolynomialDamping(exponent=0), [1, 1, 1, 1, 1, 1]),
        (HingeDamping(slope=2, bound=3), [1, 1, 1, 1, 1 / 3, 1 / 5]),
    ],
    ids=str,
)
def test_a_stale_change_counts_as_much_as_its_damping_says(damping, weights):
    """Each of N lock-step workers reads x, N - 1 others come, and x moves by s(N-1) of a step."""
    for workers in range(1, 1 + len(weights)):
        found = run(scenario(Asynchronous(damping=damping), workers, count=3 * workers))
        x, read, losses = 1.0, [1.0] * workers, [0.5]
        for update in range(3 * workers):
            # Before those who come first, fewer others came.
            x -= weights[min(update, workers - 1)] * 0.15 * read[update % workers]
            read[update % workers] = x
            if (update + 1) % workers == 0:
                losses.append(x * x / 2)
        np.testing.assert_allclose(
            [each.loss for each in found.evaluations], losses, rtol=1e-12, atol=1e-12
        )


AT_ONCE = [
    Asynchronous(),
    DelayCompensated(),
    AsynchronousEASGD(period=3),
    FedAsync(period=2),
    FedBuff(buffer=1, period=3),
    AsyncLocalSGD(period=2),
    ADPSGD(),
]


@given(
    st.sampled_from(AT_ONCE),
    st.integers(1, 6),
    st.sampled_from([Exponential(), LogNormal(sigma=1.0)]),
    st.floats(1, 9),
    st.integers(0, 1000),
)
@settings(max_examples=30)
def test_mean_staleness_is_one_less_than_the_workers_for_any_law(
    strategy, workers, jitter, slowdown, seed
):
    """Per worker, the sum of staleness + 1 over its updates is the number of its last one."""
    machine = Fixed(step_time=10 * MS, jitter=jitter)
    slow = (Persistent(nodes=(0,), slowdown=slowdown),)
    cluster = Cluster(nodes=workers, machine=machine, stragglers=slow)
    simulation = Simulation(scenario(strategy, workers, 120, cluster=cluster), "law", seed)
    while simulation.ended_by is None:
        simulation.advance()
    assert len(simulation.updates) == 120
    for rank in range(workers):
        own = [each for each in simulation.updates if each.node == rank]
        assert sum(each.staleness_updates + 1 for each in own) == (own[-1].update if own else 0)
