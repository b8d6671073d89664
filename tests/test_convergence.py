"""Strategies against theory, through scenarios and their records."""

import hashlib
import math

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
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, run, small_scenario, small_scenarios

SYNCHRONOUS = st.sampled_from(
    [
        ParameterServer(),
        ParameterServer(combine="gradients"),
        ParameterServer(server=0),
        Averaging(),
        Averaging(period=3),
        Averaging(combine="gradients"),
        Averaging(combine="gradients", period=2),
    ]
)
ANY = st.one_of(SYNCHRONOUS, st.sampled_from([Asynchronous(), Asynchronous(server=0)]))
LOCK_STEP = Fixed(step_time=10 * MS, jitter=Constant())


def quadratic(rate, dtype="float64", batch_size=1, **model):
    return Task(
        model=Quadratic(**{"dimension": 1, **model}),
        data=Gaussian(),
        batch_size=batch_size,
        optimizer=SGD(learning_rate=rate),
        dtype=dtype,
    )


def losses(scenario):
    return np.array([each.loss for each in run(scenario).evaluations])


def updates(count, **changes):
    return {"evaluate_every": 1, "stop": Stop(updates=count), **changes}


@given(small_scenarios(ANY))
@settings(max_examples=25)
def test_same_scenario_same_records(scenario):
    one, other = run(scenario), run(scenario, num_threads=2)
    assert one.evaluations == other.evaluations
    assert one.updates == other.updates
    assert one.messages == other.messages
    assert one.spans == other.spans
    assert one.summary == other.summary


@given(small_scenarios(SYNCHRONOUS), st.integers(2, 1000))
@settings(max_examples=15)
def test_faster_links_never_change_what_a_synchronous_strategy_learns(scenario, factor):
    network = scenario.network
    if isinstance(network, Star):
        network = Star(bandwidth=network.bandwidth * factor, latency=network.latency // factor)
    one, other = run(scenario), run(scenario.model_copy(update={"network": network}))
    assert [each.loss for each in one.evaluations] == [each.loss for each in other.evaluations]
    assert one.summary["parameters_sha256"] == other.summary["parameters_sha256"]
    assert other.summary["end_ns"] <= one.summary["end_ns"]


@given(small_scenarios(ANY))
@settings(max_examples=25)
def test_no_strategy_ends_in_silence_and_every_message_arrives_once(scenario):
    outcome = run(scenario)
    assert outcome.summary["stopped_by"] == "updates"
    assert outcome.summary["unread_messages"] == 0 or scenario.strategies["law"].counts == "updates"
    # What is still on its way at the end was sent after all of its sender's earlier mail arrived.
    by_pair = {}
    for message in outcome.messages:
        by_pair.setdefault((message.sender, message.receiver, message.tag), []).append(message)
    for sent in by_pair.values():
        assert all(message.arrived_ns is not None for message in sent[:-2])


@given(
    st.integers(1, 6),
    st.floats(0.01, 1.9),
    st.lists(st.floats(-3, 3), min_size=6, max_size=6),
    st.integers(0, 1000),
)
@settings(max_examples=20)
def test_parameter_server_is_averaging_is_one_machine_on_the_whole_batch(nodes, rate, optima, seed):
    """In float64 within 1e-12; with equal curvature in closed form as well."""
    task = quadratic(rate, optimum=tuple(optima[:nodes]), dimension=3)
    cluster = Cluster(nodes=nodes, machine=Fixed(step_time=10 * MS, jitter=LogNormal()))
    common = updates(8, task=task, cluster=cluster, seeds=(seed,))
    found = [
        losses(small_scenario(strategy, **common))
        for strategy in (
            ParameterServer(),
            ParameterServer(combine="gradients"),
            Averaging(),
            Averaging(combine="gradients"),
        )
    ]
    target = np.mean(optima[:nodes])
    spread = 3 * np.mean((np.array(optima[:nodes]) - target) ** 2) / 2
    whole = target + (1 - rate) ** np.arange(9) * (1 - target)  # one machine, from x = 1
    expected = spread + 3 * (whole - target) ** 2 / 2
    for each in found:
        np.testing.assert_allclose(each, expected, rtol=1e-9, atol=1e-12)


@given(st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_on_logistic_regression_the_three_ways_to_average_agree(nodes, seed):
    task = Task(
        model=Logistic(features=5),
        data=Classification(samples=200, validation_samples=100),
        batch_size=8,
        optimizer=SGD(learning_rate=0.5),
        dtype="float64",
    )
    cluster = Cluster(nodes=nodes, machine=LOCK_STEP)
    common = updates(10, task=task, cluster=cluster, seeds=(seed,))
    server, averaged = (
        losses(small_scenario(each, **common))
        for each in (ParameterServer(combine="gradients"), Averaging())
    )
    np.testing.assert_allclose(server, averaged, rtol=1e-12)
    assert averaged[-1] < averaged[0]


@given(st.floats(0.01, 1.9), st.integers(0, 1000), st.sampled_from([Instant(), Star()]))
@settings(max_examples=15)
def test_one_asynchronous_worker_is_plain_sgd(rate, seed, network):
    task = quadratic(rate, dimension=4, noise=0.3, optimum=(0.5,))
    cluster = Cluster(nodes=1, machine=Fixed(step_time=10 * MS))
    common = updates(12, task=task, cluster=cluster, network=network, seeds=(seed,))
    np.testing.assert_allclose(
        losses(small_scenario(Asynchronous(), **common)),
        losses(small_scenario(Averaging(), **common)),
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize(("period", "fixed_point"), [(1, 0.8), (4, 0.716792), (8, None)])
def test_local_sgd_on_unequal_quadratics_ends_at_its_own_fixed_point(period, fixed_point):
    """sum (1-rho_i^H) c_i / sum (1-rho_i^H) with rho_i = 1 - lr a_i; a=(1,4), c=(0,1), lr=.1."""
    rho = 1 - 0.1 * np.array([1.0, 4.0])
    weights = 1 - rho**period
    expected = weights[1] / weights.sum()
    if fixed_point is not None:
        assert expected == pytest.approx(fixed_point, abs=1e-6)
    scenario = small_scenario(
        Averaging(period=period),
        task=quadratic(0.1, curvature=(1.0, 4.0), optimum=(0.0, 1.0)),
        cluster=Cluster(nodes=2, machine=LOCK_STEP),
        **updates(80 * period) | {"evaluate_every": 80 * period},
    )
    loss = losses(scenario)[-1]
    # Loss = (x^2 + 4 (x-1)^2) / 4, so it tells x; the fixed point lies below the optimum at 0.8.
    x = (8 - math.sqrt(max(0, 64 - 20 * (4 - 4 * loss)))) / 10
    assert x == pytest.approx(expected, abs=1e-6)


@given(st.integers(1, 5), st.floats(0.05, 0.9), st.integers(1, 6))
@settings(max_examples=15)
def test_local_sgd_on_one_shared_quadratic_is_minibatch_sgd(nodes, rate, period):
    """With additive noise the averaged iterate doesn't depend on the period."""
    task = quadratic(rate, dimension=3, noise=1.0)
    cluster = Cluster(nodes=nodes, machine=LOCK_STEP)
    common = updates(12, task=task, cluster=cluster)
    np.testing.assert_allclose(
        losses(small_scenario(Averaging(period=period), **common)),
        losses(small_scenario(Averaging(period=1), **common)),
        rtol=1e-9,
        atol=1e-12,
    )


def growth(workers, rate, num_updates=1200):
    """Return the slope of the log of |x|'s peaks over the last half, per stretch of updates."""
    scenario = small_scenario(
        Asynchronous(),
        task=quadratic(rate),
        cluster=Cluster(nodes=workers, machine=LOCK_STEP),
        network=Instant(),
        evaluate_every=1,
        stop=Stop(updates=num_updates // workers * workers),
    )
    x = np.sqrt(2 * losses(scenario))
    stretches = np.array_split(x[len(x) // 2 :], 10)
    return np.polyfit(np.arange(10), [math.log(each.max()) for each in stretches], 1)[0]


@pytest.mark.parametrize(("workers", "limit"), [(1, 2.0), (2, 1.0), (4, 0.445042), (8, 0.209057)])
def test_constant_delay_is_stable_exactly_below_the_limit(workers, limit):
    """N equal workers in lock-step see N-1 updates of delay: lr*a < 2 sin(pi / (4 tau + 2))."""
    assert limit == pytest.approx(2 * math.sin(math.pi / (4 * (workers - 1) + 2)), abs=1e-6)
    assert growth(workers, 0.99 * limit) < 0
    assert growth(workers, 1.01 * limit) > 0


@pytest.mark.parametrize("strategy", [ParameterServer(), Averaging(period=2)])
def test_synchronous_sgd_is_stable_exactly_below_two_over_the_curvature(strategy):
    common = updates(60, cluster=Cluster(nodes=3, machine=LOCK_STEP))
    below = losses(small_scenario(strategy, task=quadratic(1.98), **common))
    above = losses(small_scenario(strategy, task=quadratic(2.02), **common))
    assert below[-1] < below[0]
    assert above[-1] > above[0]


@given(
    st.integers(1, 8),
    st.sampled_from([Constant(), LogNormal(sigma=1.0), Exponential()]),
    st.floats(1, 6),
    st.sampled_from([Instant(), Star(bandwidth=10**6, latency=3 * MS)]),
    st.integers(0, 1000),
)
@settings(max_examples=25)
def test_staleness_and_own_update_add_up_to_the_last_update(
    workers, jitter, slowdown, network, seed
):
    """Per worker, the sum of staleness + 1 is the index of its last update: the mean is N-1."""
    scenario = small_scenario(
        Asynchronous(),
        task=quadratic(0.01, dimension=200),
        cluster=Cluster(
            nodes=workers,
            machine=Fixed(step_time=10 * MS, jitter=jitter),
            stragglers=(Persistent(nodes=(0,), slowdown=slowdown),),
        ),
        network=network,
        stop=Stop(updates=200),
        evaluate_every=50,
        seeds=(seed,),
    )
    rows = run(scenario).updates
    for worker in range(workers):
        own = [row for row in rows if row.node == worker]
        assert sum(row.staleness_updates + 1 for row in own) == (own[-1].update if own else 0)


def test_equal_workers_in_lock_step_always_see_a_staleness_of_n_minus_1():
    scenario = small_scenario(
        Asynchronous(),
        task=quadratic(0.01),
        cluster=Cluster(nodes=5, machine=LOCK_STEP),
        network=Instant(),
        stop=Stop(updates=100),
    )
    rows = run(scenario).updates
    assert [row.staleness_updates for row in rows[:5]] == [0, 1, 2, 3, 4]
    assert {row.staleness_updates for row in rows[5:]} == {4}


def test_exponential_workers_see_geometric_staleness():
    """P(k) = (1/N) (1 - 1/N)^k for equal exponential workers; within 4 standard errors."""
    workers, count = 4, 6_000
    scenario = small_scenario(
        Asynchronous(),
        task=quadratic(0.001),
        cluster=Cluster(nodes=workers, machine=Fixed(step_time=10 * MS, jitter=Exponential())),
        network=Instant(),
        stop=Stop(updates=count),
        evaluate_every=1000,
    )
    seen = np.array([row.staleness_updates for row in run(scenario).updates[200:]])
    for k in range(6):
        expected = (1 / workers) * (1 - 1 / workers) ** k
        error = 4 * math.sqrt(expected * (1 - expected) / len(seen))
        assert abs((seen == k).mean() - expected) < error


def test_a_straggler_slows_asynchronous_training_less_than_synchronous():
    """One worker slower by s of N: throughput (N-1+1/s)/N of the full, against 1/s."""
    workers, slowdown = 4, 5
    cluster = Cluster(
        nodes=workers, machine=LOCK_STEP, stragglers=(Persistent(nodes=(0,), slowdown=slowdown),)
    )

    def samples_per_s(strategy, cluster):
        scenario = small_scenario(
            strategy,
            task=quadratic(0.001),
            cluster=cluster,
            network=Instant(),
            stop=Stop(virtual_time=4_000 * MS),
            evaluate_every=100,
        )
        return run(scenario).summary["samples"] / 4

    even = Cluster(nodes=workers, machine=LOCK_STEP)
    for strategy, share in (
        (Asynchronous(), (workers - 1 + 1 / slowdown) / workers),
        (ParameterServer(), 1 / slowdown),
        (Averaging(), 1 / slowdown),
    ):
        measured = samples_per_s(strategy, cluster) / samples_per_s(strategy, even)
        assert measured == pytest.approx(share, rel=0.01)


@given(st.floats(0.05, 0.45), st.floats(1, 4), st.integers(1, 4), st.integers(0, 100))
@settings(max_examples=15)
def test_noise_ends_within_the_proven_ball(rate, condition, nodes, seed):
    """E f(x_k) - f* <= (1 - lr mu)^k (f(x_0) - f*) + lr L sigma^2 d / (2 mu N), for lr <= 1/L.

    Source: Bottou, Curtis, Nocedal, "Optimization Methods for Large-Scale Machine Learning", SIAM
    Review 60 (2018), theorem 4.6, with the variance of a mean of N gradients.
    """
    dimension, noise, rate = 20, 0.5, rate / condition
    task = quadratic(rate, dimension=dimension, noise=noise, condition=condition)
    cluster = Cluster(nodes=nodes, machine=LOCK_STEP)
    common = updates(200, task=task, cluster=cluster, seeds=(seed,))
    found = losses(small_scenario(Averaging(), **common))
    ball = rate * condition * noise**2 * dimension / (2 * nodes)
    bound = (1 - rate) ** np.arange(201) * found[0] + ball
    # The bound is on the expectation; the mean over the second half stands for it.
    assert found[100:].mean() <= bound[100:].mean() * 1.5


def test_the_same_start_for_everyone():
    hashes = {
        hashlib.sha256(str(run(small_scenario(each)).evaluations[0].loss).encode()).hexdigest()
        for each in (ParameterServer(), Averaging(), Asynchronous())
    }
    assert len(hashes) == 1
