"""Gossip in random pairs: how fast variance shrinks."""

import numpy as np
import pytest

from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.peer_graphs.exponential import ExponentialGraph
from simbench.peer_graphs.ring import RingGraph
from simbench.scenario import Stop
from simbench.strategies.matching_gossip import MatchingGossip
from simbench.testing import small_scenario


def scenario(strategy, optimum, steps, rate):
    return small_scenario(
        strategy,
        task=Task(
            model=Quadratic(dimension=1, optimum=tuple(optimum)),
            data=Gaussian(),
            optimizer=SGD(learning_rate=rate),
            dtype="float64",
        ),
        cluster=Cluster(nodes=len(optimum), machine=Fixed()),
        stop=Stop(updates=steps),
    )


@pytest.mark.parametrize(("pairs", "nodes"), [(1, 6), (1, 3), (None, 6)])
def test_an_exchange_shrinks_the_variance_by_one_of_n_minus_1(replicas, pairs, nodes):
    """With lr = 1 each step begins at the optima, so each is an exchange of its own draw.

    All n/2 pairs of a matching at once shrink it by n/2 times as much as one.
    """
    optimum = np.array([0.0, 1.0, 4.0, 9.0, 16.0, 25.0])[:nodes]
    steps = 400
    found = replicas(scenario(MatchingGossip(pairs=pairs), optimum, steps, rate=1.0))[:, :, 0]
    np.testing.assert_allclose(found.mean(1), optimum.mean(), rtol=1e-12)
    ratios = found.var(axis=1) / optimum.var()
    expected = 1 - (pairs or nodes // 2) / (nodes - 1)
    assert abs(ratios.mean() - expected) < 4 * ratios.std() / steps**0.5


def test_pairs_are_neighbours_hold_one_mean_and_leave_no_neighbours_free(replicas):
    optimum = 2.0 ** np.arange(7)
    found = replicas(scenario(MatchingGossip(graph=RingGraph()), optimum, 40, rate=1.0))[:, :, 0]
    seen = set()
    for each in found:
        free = []
        for rank, x in enumerate(each):
            means = {(optimum[rank] + optimum[(rank + way) % 7]) / 2 for way in (-1, 1)}
            assert x == optimum[rank] or x in means
            free.append(x == optimum[rank])
        assert not any(free[rank] and free[rank - 1] for rank in range(7))
        seen.add(tuple(each))
    assert len(seen) > 5


def test_another_seed_draws_other_pairs(replicas):
    world = scenario(MatchingGossip(pairs=1), np.arange(6.0), 10, rate=1.0)
    assert (replicas(world, seed=1) != replicas(world, seed=2)).any()


def test_edges_of_one_direction_are_refused():
    with pytest.raises(ValueError, match="both ways"):
        scenario(MatchingGossip(graph=ExponentialGraph()), np.arange(5.0), 1, rate=0.1)
