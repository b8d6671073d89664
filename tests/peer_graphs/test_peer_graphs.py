"""Every graph of peers that is discovered: neighbours, weights, and how they multiply."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.peer_graph import PeerGraph
from simbench.peer_graphs.edges import EdgesGraph
from simbench.peer_graphs.one_peer_exponential import OnePeerExponentialGraph
from simbench.peer_graphs.ring import RingGraph
from simbench.peer_graphs.star import StarGraph
from simbench.peer_graphs.torus import TorusGraph
from simbench.spec import discover

ANY_SIZE = [
    found()
    for kind, found in discover("simbench.peer_graphs", PeerGraph).items()
    if kind != "edges"
]


def averaging(graph, nodes, step=0):
    matrix = np.zeros((nodes, nodes))
    for rank in range(nodes):
        for peer, weight in graph.round(nodes, step).averaging(rank).items():
            matrix[rank, peer] = weight
    return matrix


@given(st.sampled_from(ANY_SIZE), st.integers(1, 20), st.integers(0, 9))
def test_weights_are_doubly_stochastic_and_reach_everybody(graph, nodes, step):
    graph.check("graph", nodes)
    matrix = averaging(graph, nodes, step)
    np.testing.assert_allclose(matrix.sum(0), 1, rtol=1e-14)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-14)
    assert (matrix >= 0).all()
    assert graph.round(nodes, step).sends == graph.round(nodes, step + graph.period(nodes)).sends


@pytest.mark.parametrize("nodes", [3, 5, 8])
def test_a_ring_has_weights_of_a_third_and_mixes_at_the_known_rate(nodes):
    matrix = averaging(RingGraph(), nodes)
    assert set(matrix.flat) <= {0, 1 / 3}
    second = np.sort(np.linalg.eigvalsh(matrix))[-2]
    assert second == pytest.approx(1 / 3 + 2 / 3 * np.cos(2 * np.pi / nodes), abs=1e-12)


@pytest.mark.parametrize("tau", [1, 2, 3, 5])
def test_one_peer_exponential_rounds_multiply_to_the_exact_mean(tau):
    nodes = 2**tau
    rounds = [averaging(OnePeerExponentialGraph(), nodes, step) for step in range(tau)]
    assert (functools.reduce(np.matmul, rounds) == 1 / nodes).all()
    assert tau == 1 or (functools.reduce(np.matmul, rounds[1:]) != 1 / nodes).any()


def test_a_torus_joins_rows_and_columns():
    assert TorusGraph().round(12, 0).sends[0] == (1, 3, 4, 8)
    assert TorusGraph(rows=2).round(12, 0).sends[0] == (1, 5, 6)
    assert TorusGraph().round(7, 0).sends == RingGraph().round(7, 0).sends


def test_a_star_weighs_all_edges_alike():
    np.testing.assert_allclose(averaging(StarGraph(), 4)[1], [0.25, 0.75, 0, 0])


def test_edges_go_both_ways_unless_they_are_directed():
    assert EdgesGraph(edges=((0, 1), (1, 2))).round(3, 0).sends == ((1,), (0, 2), (1,))
    assert EdgesGraph(edges=((0, 1), (1, 2)), directed=True).round(3, 0).sends == ((1,), (2,), ())
