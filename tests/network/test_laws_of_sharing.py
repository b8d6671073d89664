"""Laws of shared links on the virtual clock, on random graphs and flows."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.clock import Clock
from simbench.network.fabric import Fabric
from simbench.network.topologies.fully_connected import FullyConnected
from simbench.network.topologies.graph import Edge, Graph
from simbench.network.topologies.leaf_spine import LeafSpine
from simbench.network.topologies.ring import Ring
from simbench.network.topologies.star import Star

GBIT = 10**9
MS = 10**6


class Sent(NamedTuple):
    sender: int
    receiver: int
    num_bytes: int
    start_ns: int
    weight: float = 1.0
    cap_bps: int | None = None


class Ends:
    """Plays flows on a fabric and notes how each ended: when, and with how many bytes missing."""

    def __init__(self, topology, num_nodes, flows):
        self.clock = Clock()
        self.fabric = Fabric(self.clock, topology, num_nodes)
        self.sent = flows
        self.flows = {}
        self.ended_ns = {}
        self.lost_bytes = {}
        for number, flow in enumerate(flows):
            self.at(flow.start_ns, self._begin, number)

    def at(self, time_ns, action, *arguments):
        self.clock.timeout(time_ns).callbacks.append(lambda _: action(*arguments))

    def _begin(self, number):
        flow = self.sent[number]
        self.flows[number] = self.fabric.carry(
            flow.sender,
            flow.receiver,
            flow.num_bytes,
            lambda: self._end(number, 0),
            weight=flow.weight,
            cap_bps=flow.cap_bps,
            cut=lambda bytes_left: self._end(number, bytes_left),
        )

    def _end(self, number, bytes_left):
        assert number not in self.ended_ns, "told twice"
        self.ended_ns[number] = self.clock.now_ns
        self.lost_bytes[number] = bytes_left

    def run(self):
        self.clock.run()
        assert len(self.ended_ns) == len(self.sent), "somebody was told nothing"
        return [self.ended_ns[number] for number in range(len(self.sent))]


def ends(topology, num_nodes, flows):
    return Ends(topology, num_nodes, flows).run()


LATENCIES = st.integers(0, 2 * MS)


@st.composite
def networks(draw, latency=LATENCIES):
    """Draw a connected graph of nodes and switches, and how many nodes it has."""
    nodes = draw(st.integers(2, 6))
    places = [*range(nodes), *[f"switch {i}" for i in range(draw(st.integers(0, 3)))]]
    bandwidth = st.sampled_from([GBIT, GBIT, GBIT // 4, 3 * GBIT]) | st.integers(10**6, 10**10)
    edges = [
        Edge(
            ends=(place, places[draw(st.integers(0, i))]),
            bandwidth=draw(bandwidth),
            bandwidth_back=draw(st.none() | bandwidth),
            latency=draw(latency),
        )
        for i, place in enumerate(places[1:])
    ]
    return Graph(edges=tuple(edges)), nodes


@st.composite
def flows_between(draw, nodes, max_size=10, plain=False):
    """Draw flows between different nodes."""
    flow = st.builds(
        lambda a, b, *rest: Sent(a, (a + 1 + b) % nodes, *rest),
        st.integers(0, nodes - 1),
        st.integers(0, nodes - 2),
        st.integers(1, 10**6),
        st.sampled_from([0, 0, MS]) | st.integers(0, 20 * MS),
        st.just(1.0) if plain else st.sampled_from([1.0, 1.0, 2.0, 0.3]),
        st.none() if plain else st.none() | st.integers(10**6, 2 * GBIT),
    )
    return draw(st.lists(flow, min_size=1, max_size=max_size))


def watch(played, moments_ns):
    """Return the rates of the flows under way just before each of ``moments_ns``."""
    seen = []

    def look():
        seen.append([each for each in played.flows.values() if each.under_way])
        rates.append([each.rate_bps for each in seen[-1]])

    rates = []
    for moment_ns in moments_ns:
        played.at(moment_ns, look)
    played.run()
    return list(zip(seen, rates, strict=True))


@given(st.data())
def test_links_are_never_overloaded_and_every_flow_has_a_bottleneck(data):
    """Which is work conservation too: nobody could be faster without slowing somebody down."""
    topology, nodes = data.draw(networks())
    played = Ends(topology, nodes, data.draw(flows_between(nodes)))
    # At odd moments, at which nothing changes except by great chance.
    moments_ns = [1_234_567 * i + 1 for i in range(1, 30)]

    for flows, rates in watch(played, moments_ns):
        load, fastest = {}, {}
        for flow, rate in zip(flows, rates, strict=True):
            for link in flow.links:
                load[link] = load.get(link, 0) + rate
                fastest[link] = max(fastest.get(link, 0), rate / flow.weight)
        for link, bps in load.items():
            assert bps <= link.rate_bps * (1 + 1e-9)
        for flow, rate in zip(flows, rates, strict=True):
            at_cap = flow.cap_bps is not None and rate >= flow.cap_bps * (1 - 1e-9)
            assert at_cap or any(
                load[link] >= link.rate_bps * (1 - 1e-9)
                and rate / flow.weight >= fastest[link] * (1 - 1e-9)
                for link in flow.links
            )


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10 * MS)), min_size=1, max_size=12))
def test_a_link_works_as_long_as_there_is_work(jobs):
    """The last flow of a busy period ends when the link has carried all of them, one by one."""
    flows = [Sent(i, len(jobs), num_bytes, at) for i, (num_bytes, at) in enumerate(jobs)]

    ended_ns = ends(Star(bandwidth=GBIT, latency=0), len(jobs) + 1, flows)

    free_ns = 0
    for num_bytes, start_ns in sorted(jobs, key=lambda job: job[1]):
        free_ns = max(free_ns, start_ns) + 8 * num_bytes
    assert max(ended_ns) == pytest.approx(free_ns, rel=1e-6, abs=2 * len(jobs))


@given(st.data())
def test_equal_flows_end_together(data):
    topology, nodes = data.draw(networks())
    flows = data.draw(flows_between(nodes, max_size=6))
    copies = data.draw(st.integers(2, 4))

    ended_ns = ends(topology, nodes, flows * copies)

    for number in range(len(flows)):
        assert len(set(ended_ns[number :: len(flows)])) == 1


@given(st.data())
def test_without_latency_links_c_times_as_fast_take_a_c_th_of_the_time(data):
    topology, nodes = data.draw(networks(latency=st.just(0)))
    flows = [flow._replace(start_ns=0) for flow in data.draw(flows_between(nodes, plain=True))]
    factor = data.draw(st.sampled_from([2, 3, 10, 128]))
    edges = [
        edge.model_copy(
            update={
                "bandwidth": factor * edge.bandwidth,
                "bandwidth_back": edge.bandwidth_back and factor * edge.bandwidth_back,
            }
        )
        for edge in topology.edges
    ]

    slow_ns = ends(topology, nodes, flows)
    fast_ns = ends(Graph(edges=tuple(edges)), nodes, flows)

    events = 2 * len(flows)
    assert [factor * at for at in fast_ns] == [
        pytest.approx(at, rel=1e-6, abs=factor * events) for at in slow_ns
    ]


@given(st.data())
def test_a_flow_more_never_speeds_up_the_others_on_one_link(data):
    nodes = 8
    flow = st.builds(
        Sent,
        st.integers(0, nodes - 1),
        st.just(nodes),
        st.integers(1, 10**6),
        st.integers(0, 10 * MS),
        st.sampled_from([1.0, 2.0, 0.3]),
        st.none(),
    )
    flows = data.draw(st.lists(flow, min_size=1, max_size=10))
    more = data.draw(flow)
    # The way into node 8 is all that flows share.
    edges = [Edge(ends=("switch", rank), bandwidth=100 * GBIT, latency=0) for rank in range(nodes)]
    shared = Edge(ends=("switch", nodes), bandwidth=GBIT, latency=0)
    topology = Graph(edges=(*edges, shared))

    without_ns = ends(topology, nodes + 1, flows)
    with_ns = ends(topology, nodes + 1, [*flows, more])

    for before_ns, after_ns in zip(without_ns, with_ns[:-1], strict=True):
        assert after_ns >= before_ns * (1 - 1e-6) - 2 * len(flows)


SYMMETRIC = {
    "star": (Star(bandwidth=GBIT, latency=MS), 6),
    "fully connected": (FullyConnected(bandwidth=GBIT, latency=MS), 6),
    # Of odd length, so that no two ways are equally short.
    "ring": (Ring(bandwidth=GBIT, latency=MS), 7),
    "leaf-spine": (LeafSpine(bandwidth=GBIT, latency=MS, nodes_per_leaf=3, spines=1), 6),
}


@pytest.mark.parametrize("name", list(SYMMETRIC))
@given(data=st.data())
def test_nodes_in_reversed_order_take_the_same_times(name, data):
    topology, nodes = SYMMETRIC[name]
    flows = data.draw(flows_between(nodes))
    turned = [
        flow._replace(sender=nodes - 1 - flow.sender, receiver=nodes - 1 - flow.receiver)
        for flow in flows
    ]

    assert ends(topology, nodes, turned) == [
        pytest.approx(at, rel=1e-6, abs=2 * len(flows)) for at in ends(topology, nodes, flows)
    ]


@given(st.data())
def test_bytes_sent_arrive_or_are_reported_lost_whatever_fails(data):
    topology, nodes = data.draw(networks())
    flows = data.draw(flows_between(nodes))
    played = Ends(topology, nodes, flows)
    links = len(played.fabric.network.links)
    fabric = played.fabric
    when = st.integers(0, 30 * MS)
    for _ in range(data.draw(st.integers(1, 5))):
        link, node = data.draw(st.integers(0, links - 1)), data.draw(st.integers(0, nodes - 1))
        what = data.draw(
            st.sampled_from(
                [
                    lambda link=link: fabric.cut(links=[link]),
                    lambda link=link: fabric.mend(links=[link]),
                    lambda node=node: fabric.cut(nodes=[node]),
                    lambda node=node: fabric.mend(nodes=[node]),
                    lambda link=link: fabric.set_rate(link, 10**8),
                ]
            )
        )
        played.at(data.draw(when), what)

    played.run()

    carried = dict.fromkeys(range(links), 0)
    for number, flow in enumerate(flows):
        assert 0 <= played.lost_bytes[number] <= flow.num_bytes
        for link in played.flows[number].links:
            carried[link.index] += flow.num_bytes - played.lost_bytes[number]
    assert {link: n for link, n in carried.items() if n} == {
        link: n for link, n in fabric.carried_bytes().items() if n
    }


def test_a_cut_tells_what_is_missing():
    played = Ends(Star(bandwidth=GBIT, latency=MS), 3, [Sent(0, 2, 10**6, 0), Sent(1, 2, 10**6, 0)])
    # After the latency of 1 ms, each has half of the link for 4 ms: 250 kB.
    played.at(5 * MS, lambda: played.fabric.cut(nodes=[0]))

    assert played.run() == [5 * MS, 1 * MS + 4 * MS + 6 * MS]
    assert played.lost_bytes == {0: 750_000, 1: 0}


def test_what_is_on_its_way_before_the_first_bit_is_cut_too():
    played = Ends(Star(bandwidth=GBIT, latency=MS), 2, [Sent(0, 1, 1000, 0), Sent(0, 1, 0, 0)])
    played.at(10, lambda: played.fabric.cut(nodes=[1]))

    assert played.run() == [10, 10]
    assert played.lost_bytes == {0: 1000, 1: 0}


def test_nothing_gets_to_a_node_that_is_down_until_it_is_mended():
    flows = [Sent(0, 1, 1000, 20), Sent(0, 1, 1000, 40)]
    played = Ends(Star(bandwidth=GBIT, latency=0), 2, flows)
    played.at(10, lambda: played.fabric.cut(nodes=[1]))
    played.at(30, lambda: played.fabric.mend(nodes=[1]))

    assert played.run() == [20, 8040]
    assert played.lost_bytes == {0: 1000, 1: 0}


def test_a_flow_takes_the_way_around_a_link_that_is_down():
    ring = Ring(bandwidth=GBIT, latency=0)
    played = Ends(ring, 4, [Sent(0, 1, 1000, 0)])
    links = played.fabric.network.links
    direct = next(i for i, link in enumerate(links) if (link.tail, link.head) == (0, 1))
    played.fabric.cut(links=[direct])

    assert played.run() == [8000]
    assert direct not in played.fabric.carried_bytes()
    assert len(played.fabric.carried_bytes()) == 3


def test_a_sender_who_is_not_prepared_for_a_cut_hears_of_it_as_an_error():
    fabric = Fabric(Clock(), Star(), 2)
    fabric.carry(0, 1, 1000, lambda: None)

    with pytest.raises(AssertionError, match="from node 0 to node 1 was cut"):
        fabric.cut(nodes=[0])


def test_a_cap_slows_one_flow_and_leaves_the_rest_to_others():
    flows = [Sent(0, 2, 1000, 0, cap_bps=GBIT // 4), Sent(1, 2, 3000, 0)]

    assert ends(Star(bandwidth=GBIT, latency=0), 3, flows) == [32_000, 32_000]


def test_a_cap_that_rises_speeds_up_a_flow_under_way():
    played = Ends(Star(bandwidth=GBIT, latency=0), 2, [Sent(0, 1, 1000, 0, cap_bps=GBIT // 8)])
    # An eighth of the rate for 8 us: 125 bytes. The rest at once takes 7 us.
    played.at(8000, lambda: played.fabric.cap(played.flows[0], None))

    assert played.run() == [15_000]


def test_weights_share_a_link_in_proportion():
    flows = [Sent(0, 2, 3000, 0, weight=3.0), Sent(1, 2, 1000, 0, weight=1.0)]

    assert ends(Star(bandwidth=GBIT, latency=0), 3, flows) == [32_000, 32_000]


def test_a_link_that_stands_still_holds_its_flows_until_it_goes_on():
    played = Ends(Star(bandwidth=GBIT, latency=0), 2, [Sent(0, 1, 1000, 0)])
    played.at(4000, lambda: played.fabric.set_rate(0, 0))
    played.at(10_000, lambda: played.fabric.set_rate(0, 2 * GBIT))

    # 500 bytes are left for the other link, which is no faster than before.
    assert played.run() == [14_000]
