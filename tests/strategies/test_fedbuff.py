"""Buffered asynchronous aggregation: its limit, its equations by hand, its books."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from simbench.simulation import Simulation
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.fedbuff import FedBuff
from simbench.testing import MS, run, small_scenario, small_scenarios

PLAIN = {"buffer": 1, "period": 1, "server_rate": 1.0, "damping": ConstantDamping()}


@given(small_scenarios(st.just(Asynchronous())))
@settings(max_examples=10)
def test_a_buffer_of_one_is_asynchronous_training(scenario):
    """The same Values, so the same bits; and the same messages at the same moments."""
    buffered = scenario.model_copy(update={"strategies": {"law": FedBuff(**PLAIN)}})
    ours, plain = (Simulation(each, "law", scenario.seeds[0]) for each in (buffered, scenario))
    for simulation in (ours, plain):
        while simulation.advance():
            pass
    assert [each.recipe.key for each in ours.versions] == [
        each.recipe.key for each in plain.versions
    ]
    assert ours.updates == plain.updates
    assert ours.world.messages == plain.world.messages


def lock_step(strategy, workers, count, rate=0.1, optimum=(0.0,)):
    return small_scenario(
        strategy,
        task=Task(
            model=Quadratic(dimension=1, optimum=optimum),
            data=Gaussian(),
            batch_size=1,
            optimizer=SGD(learning_rate=rate),
            dtype="float64",
        ),
        cluster=Cluster(nodes=workers, machine=Fixed(step_time=10 * MS, jitter=Constant())),
        network=Instant(),
        evaluate_every=1,
        stop=Stop(updates=count),
    )


@pytest.mark.parametrize("buffer", [1, 2, 3, 5])
def test_the_equations_by_hand(buffer):
    """Three workers in lock-step, two local steps, server rate 0.8, damping (tau + 1)^-1."""
    optima, rate, updates = [0.0, 1.0, 4.0], 0.1, 12
    strategy = FedBuff(
        buffer=buffer, period=2, server_rate=0.8, damping=PolynomialDamping(exponent=1)
    )
    found = run(lock_step(strategy, 3, updates, rate, tuple(optima)))
    w, version, gathered, losses = 1.0, 0, [], {}
    read, read_version = [w] * 3, [0] * 3
    for push in range(updates * buffer):
        worker = push % 3
        drift = (1 - (1 - rate) ** 2) * (optima[worker] - read[worker])
        gathered.append(drift / (version - read_version[worker] + 1))
        if len(gathered) == buffer:
            w += 0.8 * sum(gathered) / buffer
            version, gathered = version + 1, []
            losses[version] = np.mean((w - np.array(optima)) ** 2 / 2)
        read[worker], read_version[worker] = w, version
    assert len(found.evaluations) > 4
    for each in found.evaluations[1:]:
        assert each.loss == pytest.approx(losses[each.progress], rel=1e-12)
    assert [each.samples for each in found.evaluations] == [
        each.progress * buffer * 2 for each in found.evaluations
    ]


def test_whoever_is_fast_may_fill_a_buffer_alone():
    """One worker: its changes all start at the same w until the buffer is full."""
    strategy = FedBuff(buffer=3, period=1, damping=ConstantDamping())
    found = run(lock_step(strategy, 1, 4, rate=0.5))
    assert [each.time_ns for each in found.updates] == [30 * MS, 60 * MS, 90 * MS, 120 * MS]
    assert [each.loss for each in found.evaluations] == [0.5 * 0.25**k for k in range(5)]
    assert found.summary["samples"] == 12
    assert {(each.node, each.staleness_updates) for each in found.updates} == {(None, 0)}
