"""Every shape of network against closed forms: sizes, hops, what crosses its middle."""

import itertools
import math

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench.network.clouds import AWS_REGIONS, aws
from simbench.network.routing import Link
from simbench.network.topologies.fat_tree import FatTree
from simbench.network.topologies.fully_connected import FullyConnected
from simbench.network.topologies.graph import Edge, Graph
from simbench.network.topologies.islands import Islands
from simbench.network.topologies.leaf_spine import LeafSpine
from simbench.network.topologies.ring import Ring
from simbench.network.topologies.star import Star
from simbench.network.topologies.torus import Torus
from simbench.network.topologies.wan import WAN, Region
from simbench.network.topology import Network, Topology
from simbench.spec import discover

GBIT, MS = 10**9, 10**6


def hops(topology, num_nodes):
    """Return the number of links from every node to every other."""
    network = Network(topology, num_nodes)
    pairs = itertools.permutations(range(num_nodes), 2)
    return {pair: len(network.path(*pair).links) for pair in pairs}


def bisection_bps(topology, num_nodes):
    """Return what can flow at once from the lower half of the ranks to the upper."""
    graph = nx.DiGraph()
    for link in topology.links(num_nodes):
        before = graph.get_edge_data(link.tail, link.head, {"capacity": 0})["capacity"]
        graph.add_edge(link.tail, link.head, capacity=before + link.rate_bps)
    for rank in range(num_nodes):
        ends = ("source", rank) if rank < num_nodes // 2 else (rank, "sink")
        graph.add_edge(*ends)  # an edge without a capacity carries anything
    return nx.maximum_flow_value(graph, "source", "sink")


@given(st.integers(2, 40))
def test_in_a_star_everybody_is_two_links_away(num_nodes):
    assert set(hops(Star(), num_nodes).values()) == {2}


def test_a_star_of_unlike_nodes_has_their_own_links_and_the_mean_of_their_latencies():
    star = Star(
        bandwidth=(100, 200, 300), bandwidth_down=(1, 2, 3), latency=(10, 20, 31), loss=(0, 0.5, 0)
    )
    network = Network(star, 3)

    assert [(link.tail, link.head, link.rate_bps) for link in network.links] == [
        (0, "switch", 100), ("switch", 0, 1), (1, "switch", 200), ("switch", 1, 2),
        (2, "switch", 300), ("switch", 2, 3),
    ]  # fmt: skip
    assert network.path(0, 1).latency_ns == 15
    assert network.path(2, 0).latency_ns == 21
    assert network.path(0, 2).latency_ns == 20
    assert network.path(0, 1).loss == network.path(1, 2).loss == 0.5


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_latency_and_jitter_of_equal_nodes_are_from_node_to_node(latency_ns, jitter_ns):
    path = Network(Star(latency=latency_ns, jitter=jitter_ns), 4).path(3, 1)

    assert path.latency_ns == latency_ns
    assert sum(path.jitter_ns) == jitter_ns


@given(st.integers(1, 30))
def test_around_a_ring_the_shorter_way_is_taken(num_nodes):
    assert len(Ring().links(num_nodes)) == 2 * (num_nodes if num_nodes > 2 else num_nodes - 1)
    for (one, other), length in hops(Ring(), num_nodes).items():
        assert length == min((one - other) % num_nodes, (other - one) % num_nodes)


def test_a_ring_may_be_faster_one_way_round():
    links = Ring(bandwidth=2, bandwidth_back=1).links(4)

    assert {(link.tail, link.head): link.rate_bps for link in links} == {
        (0, 1): 2, (1, 2): 2, (2, 3): 2, (3, 0): 2, (1, 0): 1, (2, 1): 1, (3, 2): 1, (0, 3): 1,
    }  # fmt: skip


@given(st.integers(1, 20))
def test_fully_connected_nodes_are_neighbours_without_shared_links(num_nodes):
    network = Network(FullyConnected(), num_nodes)
    routes = [network.path(*pair).links for pair in itertools.permutations(range(num_nodes), 2)]

    assert all(len(route) == 1 for route in routes)
    assert len(set(routes)) == len(routes) == len(network.links) == num_nodes * (num_nodes - 1)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=3))
def test_in_a_torus_each_dimension_takes_its_shorter_way_round(dims):
    torus, size = Torus(dims=tuple(dims)), math.prod(dims)
    places = list(itertools.product(*map(range, dims)))

    for (one, other), length in hops(torus, size).items():
        gaps = [
            min((a - b) % dim, (b - a) % dim)
            for a, b, dim in zip(places[one], places[other], dims, strict=True)
        ]
        assert length == sum(gaps)
    # As many cables as nodes along a dimension; two nodes have one cable, one node none.
    cables = sum(size if dim > 2 else size // 2 if dim == 2 else 0 for dim in dims)
    assert len(torus.links(size)) == 2 * cables


@pytest.mark.parametrize(
    ("dims", "cables"), [((4, 4), 2 * 4), ((6, 3), 2 * 3), ((4, 4, 4), 2 * 16), ((2, 5), 5)]
)
def test_a_torus_is_cut_in_two_cables_per_line(dims, cables):
    size = math.prod(dims)

    assert bisection_bps(Torus(dims=dims, bandwidth=GBIT), size) == cables * GBIT


@pytest.mark.parametrize(("oversubscription", "part"), [(1.0, 1), (4.0, 4), (2.5, 2.5)])
@pytest.mark.parametrize("spines", [1, 2, 4])
def test_a_leaf_has_its_ports_rate_over_the_oversubscription_upwards(
    oversubscription, part, spines
):
    topology = LeafSpine(
        nodes_per_leaf=4, spines=spines, oversubscription=oversubscription, bandwidth=GBIT
    )

    assert bisection_bps(topology, 8) == pytest.approx(4 * GBIT / part, rel=1e-9)
    assert set(hops(topology, 12).values()) == {2, 4}
    assert hops(topology, 12)[4, 7] == 2
    assert hops(topology, 12)[3, 4] == 4


def test_two_racks_and_a_trunk_as_a_leaf_spine_or_as_a_graph():
    racks = LeafSpine(nodes_per_leaf=4, spines=1, oversubscription=4, bandwidth=100, latency=20)
    graph = Graph(
        edges=(
            Edge(ends=("left", 0, 1, 2, 3), bandwidth=100, latency=10),
            Edge(ends=("right", 4, 5, 6, 7), bandwidth=100, latency=10),
            Edge(ends=("left", "right"), bandwidth=100, latency=0),
        )
    )

    one, other = Network(racks, 8), Network(graph, 8)
    assert bisection_bps(racks, 8) == bisection_bps(graph, 8) == 100
    for pair in itertools.permutations(range(8), 2):
        assert one.path(*pair).latency_ns == other.path(*pair).latency_ns == 20


@pytest.mark.parametrize("k", [2, 4, 6, 8])
def test_a_fat_tree_has_full_bisection_and_two_four_or_six_hops(k):
    tree, num_nodes = FatTree(k=k, bandwidth=GBIT), k**3 // 4

    assert bisection_bps(tree, num_nodes) == num_nodes // 2 * GBIT
    switches = {place for link in tree.links(num_nodes) for place in link[:2]} - set(
        range(num_nodes)
    )
    assert len(switches) == 5 * k**2 // 4
    half = k // 2
    network = Network(tree, num_nodes)
    for other in range(1, num_nodes):
        expected = 2 if other < half else 4 if other < half**2 else 6
        assert len(network.path(0, other).links) == expected


def test_what_leaves_an_island_shares_its_uplinks():
    islands = Islands(islands=3, size=4, latency=1000, latency_between=7, bandwidth_between=GBIT)
    network = Network(islands, 13)

    assert (network.path(0, 3).latency_ns, len(network.path(0, 3).links)) == (1000, 2)
    assert (network.path(0, 11).latency_ns, len(network.path(0, 11).links)) == (1007, 4)
    assert len(network.path(5, 12).links) == 3  # the server is on the core
    assert bisection_bps(Islands(islands=2, size=4, uplinks=3), 8) == 3 * 100 * GBIT


def test_regions_are_joined_by_what_the_matrices_say():
    wan = WAN(
        regions=(Region(name="a", nodes=2), Region(name="b", nodes=1), Region(name="c", nodes=1)),
        latency_between=((None, 5 * MS, 7 * MS), (6 * MS, None, 8 * MS), (9 * MS, 10 * MS, None)),
        bandwidth_between=((None, 10, 20), (30, None, 40), (50, 60, None)),
        latency=2 * MS,
    )
    network = Network(wan, 5)

    def way(sender, receiver):
        path = network.path(sender, receiver)
        return path.latency_ns // MS, min(network.links[link].rate_bps for link in path.links)

    assert way(0, 1) == (2, GBIT)
    assert (way(0, 2), way(2, 0)) == ((7, 10), (8, 30))
    assert (way(2, 3), way(3, 2)) == ((10, 40), (12, 60))
    assert way(4, 0) == (2, GBIT), "the server stands in the first region"


def test_the_published_regions_are_symmetric_and_as_far_as_light_allows():
    # Great circles in km; light in fibre goes 200 km a millisecond.
    for one, other, distance_km in [
        ("us-west-2", "us-east-1", 3_500), ("eu-west-1", "us-east-1", 5_400),
        ("ap-northeast-1", "ap-southeast-2", 7_800), ("eu-central-1", "eu-west-2", 600),
    ]:  # fmt: skip
        latency_ns, rate_bps = aws(one, other)
        assert (latency_ns, rate_bps) == aws(other, one)
        assert latency_ns > distance_km / 200 * MS
    assert aws("us-east-1", "ap-southeast-1") == (115 * MS, 364 * 10**6)
    assert aws("eu-west-1", "ap-northeast-2") == (114 * MS, 335 * 10**6)
    for one, other in itertools.combinations(AWS_REGIONS, 2):
        latency_ns, rate_bps = aws(one, other)
        assert 5 * MS < latency_ns < 133 * MS
        assert 0.3 * GBIT < rate_bps < 1.2 * GBIT


SYMMETRIC = [
    Star(), Ring(), FullyConnected(), Torus(dims=(4, 2)), Torus(dims=(2, 2, 2)), LeafSpine(),
    FatTree(k=4), Islands(), Graph(edges=(Edge(ends=("s", *range(8))),)),
    WAN(),
]  # fmt: skip


@pytest.mark.parametrize("topology", SYMMETRIC, ids=lambda topology: topology.kind)
def test_a_reversed_order_of_nodes_has_the_same_distances(topology):
    num_nodes = 16 if topology.kind == "fat_tree" else 8
    network = Network(topology, num_nodes)

    def ways(sender, receiver):
        path = network.path(sender, receiver)
        return len(path.links), path.latency_ns

    for one, other in itertools.permutations(range(num_nodes), 2):
        assert ways(one, other) == ways(num_nodes - 1 - one, num_nodes - 1 - other)
        assert ways(one, other) == ways(other, one)


KINDS = [
    pytest.param(found(), id=kind)
    for kind, found in discover("simbench.network.topologies", Topology).items()
]


@pytest.mark.parametrize("topology", KINDS)
def test_every_place_has_a_position_of_its_own(topology):
    for num_nodes in (8, 9):
        layout = topology.layout(num_nodes)
        links = topology.links(num_nodes)
        places = {*range(num_nodes)} | {place for link in links for place in link[:2]}
        assert places <= set(layout) or topology.kind == "instant"
        assert len(set(layout.values())) == len(layout)


@pytest.mark.parametrize(
    ("topology", "num_workers", "num_servers", "message"),
    [
        (Star(bandwidth=(1, 2, 3)), 4, 0, "one for each of 4 nodes; got 3"),
        (Star(loss=(0.1,) * 4), 4, 1, "one for each of 4 nodes and 1 on server machines; got 4"),
        (Torus(dims=(3, 3)), 8, 0, "3 x 3 makes 9 nodes; the cluster has 8"),
        (FatTree(k=4), 16, 1, "16 ports for nodes; 17 machines need k = 6"),
        (Islands(islands=2, size=3), 8, 0, "hold 6 nodes; the cluster has 8"),
        (WAN(), 9, 0, "they hold 8 nodes; the cluster has 9"),
        (Graph(edges=(Edge(ends=(0, 1)),)), 3, 0, r"node 2 \(a worker\) is missing"),
        (Graph(edges=(Edge(ends=(0, 1)),)), 2, 1, r"node 2 \(the server's machine\) is missing"),
        (
            Graph(edges=(Edge(ends=(0, 1)), Edge(ends=(2, 3)))), 4, 0,
            "no way from node 0 to node 2",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_the_cluster_is_refused(topology, num_workers, num_servers, message):
    with pytest.raises(ValidationError, match=message):
        topology.check(num_workers, num_servers)


def test_links_are_told_by_their_ends():
    assert Ring(latency=3, jitter=2, loss=0.1).links(2) == (
        Link(0, 1, GBIT, 3, 2, 0.1),
        Link(1, 0, GBIT, 3, 2, 0.1),
    )
