"""Faulty nodes, and what they do to those who aggregate."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.aggregators.krum import Krum
from simbench.learning.aggregators.mean import Mean
from simbench.learning.aggregators.median import Median
from simbench.learning.aggregators.trimmed_mean import TrimmedMean
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.faults.noise import Noise
from simbench.learning.faults.sign_flip import SignFlip
from simbench.learning.faults.stale_replay import StaleReplay
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.scenario_file import dump
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategies.ssp import StaleSynchronous
from simbench.testing import MS, run, small_scenario

RATE = 0.2
OPTIMUM = 2.0


def scenario(strategy, faults=(), nodes=5, updates=60, noise=0.0, dimension=3, **changes):
    """Return gradient descent on |x - 2|^2 / 2 from 1 in each entry, the same for all nodes."""
    model = Quadratic(dimension=dimension, optimum=(OPTIMUM,), noise=noise)
    return small_scenario(
        strategy,
        task=Task(
            model=model,
            data=Gaussian(),
            batch_size=1,
            optimizer=SGD(learning_rate=RATE),
            dtype="float64",
        ),
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=10 * MS)),
        network=Star(bandwidth=10**9, latency=MS),
        faults=faults,
        stop=Stop(updates=updates),
        **{"evaluate_every": updates, **changes},
    )


def last_loss(*args, **changes):
    return run(scenario(*args, **changes)).evaluations[-1].loss


@pytest.mark.parametrize("combine", ["gradients", "parameters"])
@pytest.mark.parametrize("kind", [ParameterServer, Averaging])
def test_one_worker_of_five_turns_the_mean_round_and_nothing_robust(kind, combine):
    """Mean: (4 - 9)/5 of the gradient is the wrong way. The others come to the optimum."""
    faults = (SignFlip(nodes=(3,), scale=9.0),)
    losses = {
        aggregator.kind: last_loss(kind(combine=combine, aggregator=aggregator), faults, noise=0.01)
        for aggregator in (
            Mean(),
            Median(),
            TrimmedMean(),
            TrimmedMean(trim=0.4),
            Krum(),
            Krum(chosen=3),
        )
    }
    start = 3 * 1.0 / 2
    assert losses.pop("mean") > 1e6 * start
    assert all(loss < 1e-4 for loss in losses.values()), losses


def test_a_single_sign_flip_of_the_same_length_only_slows_the_mean_down():
    """(4 - 1)/5 of the gradient is left: x - 2 shrinks by 1 - 0.6 lr a step."""
    strategy = ParameterServer(combine="gradients")
    loss = last_loss(strategy, (SignFlip(nodes=(3,)),), updates=20)
    assert loss == pytest.approx(1.5 * (1 - 0.6 * RATE) ** 40, rel=1e-9)


@pytest.mark.parametrize(
    "strategy",
    [
        Averaging(),
        Averaging(bucket=8),
        Averaging(combine="gradients", bucket=8),
        Asynchronous(),
        StaleSynchronous(),
    ],
    ids=str,
)
def test_a_lone_faulty_worker_climbs_whatever_the_strategy(strategy):
    loss = last_loss(strategy, (SignFlip(nodes=(0,)),), nodes=1, updates=10)
    assert loss == pytest.approx(1.5 * (1 + RATE) ** 20, rel=1e-9)


@pytest.mark.parametrize("age", [1, 4])
def test_a_replay_is_the_gradient_of_so_many_steps_ago(age):
    loss = last_loss(Averaging(), (StaleReplay(nodes=(0,), steps=age),), nodes=1, updates=12)
    x = [1.0]
    for step in range(12):
        x.append(x[-1] - RATE * (x[max(0, step - age)] - OPTIMUM))
    assert loss == pytest.approx(3 * (x[-1] - OPTIMUM) ** 2 / 2, rel=1e-12)


def test_noise_has_the_deviation_that_it_says_and_is_drawn_anew_each_step():
    fault, gradient = Noise(sigma=3.0).operation(seed=1), torch.ones(20_000, dtype=torch.float64)
    drawn = [fault(gradient, rank, step).numpy() - 1 for rank, step in ((0, 0), (0, 1), (1, 0))]
    for each in drawn:
        assert each.mean() == pytest.approx(0, abs=4 * 3 / 20_000**0.5)
        assert each.std() == pytest.approx(3, rel=0.03)
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.03


def test_several_faults_of_a_node_work_one_after_the_other():
    both = (SignFlip(nodes=(0,), scale=2.0), SignFlip(nodes=(0,), scale=0.5))
    honest, twice = (last_loss(Averaging(), faults, updates=9) for faults in ((), both))
    assert twice == pytest.approx(honest, rel=1e-12)


def test_honest_nodes_and_the_clock_are_as_they_were():
    strategy = ParameterServer(aggregator=Median())
    honest, faulty = (
        run(scenario(strategy, faults, updates=10, noise=0.1))
        for faults in ((), (Noise(nodes=(4,), sigma=100.0),))
    )
    assert faulty.updates == honest.updates
    assert faulty.messages == honest.messages
    assert faulty.spans == honest.spans
    assert faulty.evaluations[-1].loss < 2 * honest.evaluations[-1].loss


def test_without_faults_nothing_is_written():
    assert "faults" not in dump(scenario(Averaging()))
    assert "faults:" in dump(scenario(Averaging(), (SignFlip(nodes=(4,)),)))


def test_a_faulty_node_must_exist():
    with pytest.raises(ValidationError) as caught:
        scenario(Averaging(), (SignFlip(), SignFlip(nodes=(1, 5))))
    error = caught.value.errors()[0]
    assert error["loc"] == ("faults", 1, "nodes")
    assert error["msg"] == "node 5 doesn't exist: 5 nodes have the ranks 0 to 4"


def test_a_replay_with_another_age_meets_the_law():
    testing.check_fault(StaleReplay(steps=2))
