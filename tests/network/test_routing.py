"""Shortest paths and the choice among equal ones, against networkx and closed forms."""

import itertools
from collections import Counter

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.network.routing import Link, ShortestPaths
from simbench.network.topologies.fat_tree import FatTree
from simbench.network.topologies.leaf_spine import LeafSpine
from simbench.network.topologies.ring import Ring
from simbench.network.topologies.star import Star
from simbench.network.topology import Network, NoRouteError


def one_way(*pairs):
    return [Link(tail, head, 10**9, 5) for tail, head in pairs]


PLACES = st.integers(0, 7) | st.sampled_from(["a", "b", "c"])
GRAPHS = st.lists(st.tuples(PLACES, PLACES).filter(lambda ends: ends[0] != ends[1]), max_size=30)


@given(GRAPHS, st.integers(0, 7), st.integers(0, 7), st.integers(0, 99))
def test_a_route_is_as_short_as_networkx_finds_it(pairs, sender, receiver, flow):
    graph = nx.DiGraph(pairs)
    graph.add_nodes_from(range(8))
    links = one_way(*pairs)

    route = ShortestPaths(links).route(sender, receiver, flow)

    if not nx.has_path(graph, sender, receiver):
        assert route is None
        return
    assert len(route) == nx.shortest_path_length(graph, sender, receiver)
    here = sender
    for link in route:
        assert links[link].tail == here
        here = links[link].head
    assert here == receiver


@given(GRAPHS, st.integers(0, 7), st.integers(0, 7))
def test_every_shortest_path_can_be_chosen_and_no_other(pairs, sender, receiver):
    pairs = list(dict.fromkeys(pairs))
    graph = nx.DiGraph(pairs)
    graph.add_nodes_from(range(8))
    if sender == receiver or not nx.has_path(graph, sender, receiver):
        return
    links = one_way(*pairs)

    choices = ShortestPaths(links).choices(sender, receiver)

    on_some = {
        step
        for path in nx.all_shortest_paths(graph, sender, receiver)
        for step in itertools.pairwise(path)
    }
    chosen = [links[link] for each in choices.values() for link in each]
    assert sorted(map(str, on_some)) == sorted(str((link.tail, link.head)) for link in chosen)


def test_links_that_are_down_are_avoided_until_they_are_up_again():
    network = Network(Ring(), 6)
    assert network.path(0, 1).links == (0,)

    network.set_down(frozenset({0}))
    assert len(network.path(0, 1).links) == 5
    assert network.path(1, 0).links == (1,)

    network.set_down(frozenset())
    assert network.path(0, 1).links == (0,)


def test_nodes_that_are_cut_off_have_no_route():
    network = Network(Star(), 3)
    network.set_down(frozenset({0}))

    with pytest.raises(NoRouteError, match="no way from node 0 to node 2"):
        network.path(0, 2)
    assert network.path(2, 0).links == (4, 1)


def test_one_flow_keeps_its_way_and_many_flows_spread_evenly():
    topology = LeafSpine(nodes_per_leaf=4, spines=4)
    network, again = Network(topology, 8), Network(topology, 8)

    routes = [network.path(0, 4, flow).links for flow in range(4000)]

    assert [again.path(0, 4, flow).links for flow in reversed(range(4000))] == routes[::-1]
    spines = Counter(network.links[route[1]].head for route in routes)
    assert set(spines) == {f"spine {spine}" for spine in range(4)}
    # Binomial with p = 1/4: 5 standard deviations.
    assert all(abs(count - 1000) < 5 * (4000 * 0.25 * 0.75) ** 0.5 for count in spines.values())


def test_choices_at_one_switch_say_nothing_about_those_at_the_next():
    # A fat tree of 8 ports has 16 ways between pods: 4 up from the edge, 4 up from there.
    network = Network(FatTree(k=8), 128)

    cores = Counter(network.links[network.path(0, 127, flow).links[2]].head for flow in range(8000))

    assert len(cores) == 16
    assert all(abs(count - 500) < 5 * (8000 * 15 / 256) ** 0.5 for count in cores.values())


def test_parallel_cables_are_chosen_among():
    links = one_way((0, "s"), ("s", 1), ("s", 1))
    ways = ShortestPaths(links)

    assert {ways.route(0, 1, flow) for flow in range(50)} == {(0, 1), (0, 2)}


class CountedLinks(list):
    """Links of a place that count how many of them are gone through."""

    gone_through = 0

    def __iter__(self):
        CountedLinks.gone_through += len(self)
        return super().__iter__()


@pytest.mark.parametrize("topology", [Star(), Ring(), LeafSpine(nodes_per_leaf=40, spines=8)])
def test_the_search_for_a_near_node_goes_through_few_links(topology):
    ways = ShortestPaths(topology.links(10_000))
    for table in (ways._leaving, ways._entering):
        table.update({place: CountedLinks(links) for place, links in table.items()})
    CountedLinks.gone_through = 0

    for sender in range(0, 9_999, 100):
        assert ways.route(sender, sender + 1, 0)

    assert CountedLinks.gone_through / 100 < 200
