"""Proven rates as bounds, on random problems: what theory promises, every strategy keeps."""

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
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.peer_graphs.complete import CompleteGraph
from simbench.peer_graphs.edges import EdgesGraph
from simbench.peer_graphs.ring import RingGraph
from simbench.scenario import Stop
from simbench.strategies.adacomm import AdaComm
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.d_psgd import DPSGD
from simbench.strategies.delay_compensated import DelayCompensated
from simbench.strategies.diloco import DiLoCo
from simbench.strategies.hierarchical_averaging import HierarchicalAveraging
from simbench.strategies.matching_gossip import MatchingGossip
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategies.post_local_sgd import PostLocalSGD
from simbench.strategies.push_sum import PushSum
from simbench.strategies.slowmo import SlowMo
from simbench.strategies.sparta import SPARTA
from simbench.strategies.ssp import StaleSynchronous
from simbench.strategies.streaming_diloco import StreamingDiLoCo
from simbench.testing import MS, run, small_scenario

STEPS = 30
STEADY = Constant()
GRADIENT_DESCENT = [
    ParameterServer(),
    ParameterServer(combine="gradients"),
    ParameterServer(backup_workers=1),
    StaleSynchronous(staleness=0),
    Averaging(),
    Averaging(period=5),
    Averaging(combine="gradients"),
    PostLocalSGD(),
    HierarchicalAveraging(),
    DiLoCo(period=4, outer=SGD(learning_rate=1.0)),
    StreamingDiLoCo(period=4, fragments=2, overlap=0, outer=SGD(learning_rate=1.0)),
    SlowMo(momentum=0.0),
    AdaComm(period=4, interval=5),
    SPARTA(share=0.5),
    DPSGD(graph=RingGraph()),
    DPSGD(graph=CompleteGraph(), order="adapt_then_combine"),
    PushSum(),
    MatchingGossip(),
]
"""On one quadratic for all, without noise, each is gradient descent."""


def quadratic(rate, **model):
    return Task(
        model=Quadratic(**model),
        data=Gaussian(),
        optimizer=SGD(learning_rate=rate),
        dtype="float64",
    )


def described(strategy, task, nodes, jitter=STEADY, **changes):
    return small_scenario(
        strategy,
        task=task,
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=10 * MS, jitter=jitter)),
        **{"evaluate_every": 1, "stop": Stop(updates=STEPS), **changes},
    )


def losses(scenario):
    return np.array([each.loss for each in run(scenario).evaluations])


@pytest.mark.parametrize("strategy", GRADIENT_DESCENT, ids=str)
@given(
    st.floats(0.5, 4),
    st.floats(1, 20),
    st.floats(0.1, 1),
    st.sampled_from([LogNormal(sigma=0.5), Exponential()]),
)
@settings(max_examples=5)
def test_strong_convexity_gives_its_linear_rate(strategy, smallest, condition, share, jitter):
    """f(x_k) - f* <= (1 - lr mu)^(2k) (f(x_0) - f*) for lr <= 1/L: a quadratic's is per entry."""
    rate = share / (smallest * condition)
    task = quadratic(rate, dimension=5, curvature=(smallest,), condition=condition)
    # SSP counts updates: four of them are a step of all.
    count = STEPS * (4 if strategy.counts == "updates" else 1)
    found = losses(described(strategy, task, 4, jitter, stop=Stop(updates=count)))
    assert len(found) == STEPS + 1
    bound = (1 - rate * smallest) ** (2 * np.arange(STEPS + 1)) * found[0]
    assert (found <= bound * (1 + 1e-9)).all()
    assert found[-1] < found[0]


@pytest.mark.parametrize("strategy", GRADIENT_DESCENT, ids=str)
@given(st.floats(0.2, 5), st.floats(0.9, 1.1).filter(lambda share: abs(share - 1) > 0.005))
@settings(max_examples=5)
def test_it_converges_below_two_over_the_curvature_and_diverges_above(strategy, curvature, share):
    count = STEPS * (4 if strategy.counts == "updates" else 1)
    task = quadratic(2 * share / curvature, dimension=1, curvature=(curvature,))
    found = losses(described(strategy, task, 4, stop=Stop(updates=count)))
    # In closed form: x_k = (1 - 2 share)^k.
    np.testing.assert_allclose(
        found, curvature / 2 * (1 - 2 * share) ** (2 * np.arange(STEPS + 1)), rtol=1e-6
    )
    assert (found[-1] < found[0]) == (share < 1)


@given(
    st.lists(st.floats(0.2, 4), min_size=2, max_size=6),
    st.lists(st.floats(-3, 3), min_size=6, max_size=6),
    st.integers(1, 6),
    st.floats(0.1, 1),
)
@settings(max_examples=25)
def test_local_sgd_on_unequal_quadratics_contracts_to_its_fixed_point(
    replicas, curvatures, optima, period, share
):
    """|x_t - x_fix| <= rho^t |x_0 - x_fix|, rho = 1 - lr min a_i, for lr <= 1/L.

    A local step contracts by rho_i = 1 - lr a_i towards c_i, a round by the mean of rho_i^H.
    """
    nodes, rounds = len(curvatures), 6
    optima = np.array(optima[:nodes])
    rate = share / max(curvatures)
    rho = 1 - rate * np.array(curvatures)
    fixed = ((1 - rho**period) * optima).sum() / (1 - rho**period).sum()
    task = quadratic(rate, dimension=1, curvature=tuple(curvatures), optimum=tuple(optima))
    scenario = described(Averaging(period=period), task, nodes, stop=Stop(updates=rounds * period))
    x = replicas(scenario)[period - 1 :: period, :, 0]
    expected = fixed + (rho**period).mean() ** np.arange(1, rounds + 1) * (1.0 - fixed)
    np.testing.assert_allclose(x, np.tile(expected[:, None], nodes), rtol=1e-9, atol=1e-12)
    bound = rho.max() ** (period * np.arange(1, rounds + 1)) * abs(1.0 - fixed)
    assert (abs(x - fixed).max(axis=1) <= bound * (1 + 1e-9) + 1e-12).all()


@given(
    st.sampled_from([Asynchronous(), DelayCompensated(strength=0), Asynchronous(server=0)]),
    st.integers(1, 6),
    st.floats(1, 10),
    st.floats(1, 5),
    st.sampled_from([Constant(), LogNormal(sigma=1.0), Exponential()]),
    st.sampled_from([Instant(), Star(bandwidth=10**7, latency=5 * MS)]),
    st.integers(0, 1000),
)
@settings(max_examples=25)
def test_asynchrony_keeps_the_linear_rate_at_a_step_for_its_delay(
    strategy, workers, condition, slowdown, jitter, network, seed
):
    """f(x_k) <= (1 - lr mu)^(2k) f(x_0) where lr L (tau + 1) <= 1/e, tau the largest staleness.

    Then x_{k+1} = x_k - lr a x_{k - tau_k} neither changes sign nor turns: for a constant delay
    that is so iff lr a <= tau^tau / (tau + 1)^(tau + 1), which is above 1 / (e (tau + 1)), and a
    shorter delay only takes less off. As x_{k - tau_k} >= x_k, a step takes off lr a x_k or more.

    Source: Gyori and Ladas, "Oscillation Theory of Delay Differential Equations", Oxford 1991,
    theorem 7.2.1 (the constant delay).
    """
    count = 40 * workers
    changes = {
        "network": network,
        "seeds": (seed,),
        "stop": Stop(updates=count),
        "cluster": Cluster(
            nodes=workers,
            machine=Fixed(step_time=10 * MS, jitter=jitter),
            stragglers=(Persistent(nodes=(0,), slowdown=slowdown),),
        ),
    }

    def outcome(rate):
        task = quadratic(rate, dimension=4, condition=condition)
        return run(small_scenario(strategy, task=task, evaluate_every=1, **changes))

    # When who pushes what doesn't depend on the numbers.
    staleness = max(row.staleness_updates for row in outcome(1e-3).updates)
    rate = 1 / (math.e * condition * (staleness + 1))
    rows = outcome(rate).evaluations
    found = np.array([each.loss for each in rows])
    steps = np.array([each.progress for each in rows])
    assert (found <= (1 - rate) ** (2 * steps) * found[0] * (1 + 1e-9)).all()


@st.composite
def connected_graphs(draw):
    """A random tree on 3 to 7 nodes and some edges more."""
    nodes = draw(st.integers(3, 7))
    edges = {(draw(st.integers(0, node - 1)), node) for node in range(1, nodes)}
    more = draw(
        st.lists(st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)), max_size=6)
    )
    edges |= {(min(pair), max(pair)) for pair in more if pair[0] != pair[1]}
    return nodes, EdgesGraph(edges=tuple(sorted(edges)))


def metropolis(edges, nodes):
    """W_ij = 1 / (1 + max(d_i, d_j)), what is left on the diagonal."""
    degree = np.bincount(np.array(edges).ravel(), minlength=nodes)
    matrix = np.zeros((nodes, nodes))
    for i, j in edges:
        matrix[i, j] = matrix[j, i] = 1 / (1 + max(degree[i], degree[j]))
    return matrix + np.diag(1 - matrix.sum(axis=1))


@given(connected_graphs(), st.lists(st.floats(-3, 3), min_size=7, max_size=7), st.floats(0.01, 0.3))
@settings(max_examples=20)
def test_consensus_error_follows_the_spectral_gap(replicas, graph, optima, rate):
    """In the paper's order e_{k+1} = (W - lr) e_k + lr (c - mean c), so with the second eigenvalue:
    |e_k| <= lr |c - mean c| (1 - q^k) / (1 - q), where q = max over i > 1 of |lambda_i - lr|.
    """
    nodes, chosen = graph
    optimum = np.array(optima[:nodes])
    task = quadratic(rate, dimension=1, optimum=tuple(optimum))
    x = replicas(described(DPSGD(graph=chosen), task, nodes))[:, :, 0]
    error = np.linalg.norm(x - x.mean(axis=1, keepdims=True), axis=1)
    others = np.linalg.eigvalsh(metropolis(chosen.edges, nodes))[:-1]
    q = abs(others - rate).max()
    spread = np.linalg.norm(optimum - optimum.mean())
    steps = np.arange(1, STEPS + 1)
    reach = steps if abs(1 - q) < 1e-12 else (1 - q**steps) / (1 - q)
    assert (error <= rate * spread * reach * (1 + 1e-9) + 1e-12).all()
    assert others.max() < 1 - 1e-9, "a connected graph has a gap"
