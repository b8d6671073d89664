"""Messages bring every contribution where it belongs, once; flows take as long as messages."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simbench.clock import Clock
from simbench.network.collective import Collective, Exchange, Plan, PointToPoint, seconds
from simbench.network.collective_laws import check_collective, check_flows, check_messages, follow
from simbench.network.collectives.all_reduce.colocated_servers import ColocatedServers
from simbench.network.collectives.all_reduce.double_binary_tree import DoubleBinaryTree, double_tree
from simbench.network.collectives.all_reduce.hierarchical import Hierarchical
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.collectives.all_reduce.servers import Servers
from simbench.network.collectives.broadcast.binomial import Binomial as BinomialBroadcast
from simbench.network.collectives.broadcast.chain import Chain
from simbench.network.collectives.reduce.binomial import Binomial as BinomialReduce
from simbench.network.fabric import Fabric
from simbench.network.topologies.fully_connected import FullyConnected
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.islands import Islands
from simbench.network.topologies.leaf_spine import LeafSpine
from simbench.network.topologies.ring import Ring as RingOfLinks
from simbench.network.topologies.star import Star
from simbench.network.topologies.torus import Torus
from simbench.network.topology import Network
from simbench.spec import discover

OPERATIONS = ("all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce")
AS_THEY_COME = [
    found()
    for operation in OPERATIONS
    for found in discover(f"simbench.network.collectives.{operation}", Collective).values()
]
WITH_SETTINGS = [
    Servers(servers=3),
    ColocatedServers(servers=1),
    ColocatedServers(servers=3),
    Hierarchical(island=1),
    Hierarchical(island=3),
    Hierarchical(island=4),
    DoubleBinaryTree(segment=None),
    DoubleBinaryTree(segment=100),
    BinomialBroadcast(segment=100),
    BinomialReduce(segment=100),
    Chain(segment=100),
]
EVERY = AS_THEY_COME + WITH_SETTINGS


def named(collectives):
    return [
        pytest.param(each, id=f"{type(each).__module__.split('.')[-2]}-{each!r}"[:60])
        for each in collectives
    ]


@pytest.mark.parametrize("collective", named(EVERY))
def test_laws(collective):
    check_collective(collective)


@pytest.mark.parametrize("collective", named(EVERY))
@pytest.mark.parametrize("num_workers", range(1, 34))
def test_every_contribution_comes_once_for_any_number_of_nodes(collective, num_workers):
    ranks = tuple(range(num_workers + collective.num_servers))

    check_messages(collective, 1000 * num_workers + 1, ranks)


@given(st.sampled_from(EVERY), st.integers(1, 33), st.integers(1, 10**9), st.data())
def test_every_contribution_comes_once(collective, num_workers, num_bytes, data):
    count = num_workers + collective.num_servers
    ranks = data.draw(st.lists(st.integers(0, 99), min_size=count, max_size=count, unique=True))

    check_messages(collective, num_bytes, tuple(ranks))


RATES = st.sampled_from([10**6, 10**9, 10**11])
LATENCIES = st.integers(0, 10**7)
STARS = st.builds(Star, bandwidth=RATES, latency=LATENCIES)
TOPOLOGIES = st.one_of(
    STARS,
    st.builds(FullyConnected, bandwidth=RATES, latency=LATENCIES),
    st.builds(RingOfLinks, bandwidth=RATES, latency=LATENCIES),
    st.builds(
        Islands,
        islands=st.just(3),
        size=st.just(4),
        bandwidth=RATES,
        latency=LATENCIES,
        bandwidth_between=RATES,
        latency_between=LATENCIES,
        uplinks=st.integers(1, 2),
    ),
    st.builds(Torus, dims=st.just((3, 4)), bandwidth=RATES, latency=LATENCIES),
    st.builds(LeafSpine, bandwidth=RATES, latency=LATENCIES),
)


@given(st.sampled_from(EVERY), st.integers(1, 12), st.integers(1, 10**9), STARS)
def test_flows_take_as_long_as_messages_on_equal_links(collective, num_workers, num_bytes, star):
    ranks = tuple(range(num_workers + collective.num_servers))

    check_flows(collective, num_bytes, ranks, star)


@given(st.sampled_from(EVERY), st.integers(1, 10**7), TOPOLOGIES, st.randoms())
def test_flows_take_as_long_as_messages_anywhere(collective, twelfth_bytes, topology, random):
    assume(not collective.num_servers)
    ranks = list(range(12))
    random.shuffle(ranks)

    check_flows(collective, 12 * twelfth_bytes, tuple(ranks), topology)
    check_flows(collective, 12 * twelfth_bytes, tuple(sorted(ranks)), topology)


@pytest.mark.parametrize(
    ("collective", "topology", "num_flows"),
    [
        (Ring(), Star(), 12),
        (Ring(), FullyConnected(), 12),
        (Ring(), RingOfLinks(), 12),
        (Ring(), Instant(), 12),
        (Ring(simulate="messages"), Star(), 12 * 22),
        (Ring(), Star(jitter=1000), 12 * 22),
        (Hierarchical(), Islands(islands=3, size=4), 4 * 12),
        (Hierarchical(island=4), Star(), 4 * 12),
    ],
    ids=str,
)
def test_many_messages_run_as_a_handful_of_flows(collective, topology, num_flows):
    network = Network(topology, 12)

    assert len(collective.transfers(12_000, tuple(range(12)), network)) == num_flows


def test_nodes_that_share_links_unequally_run_as_messages():
    ranks = (0, 4, 1, 5, 2, 6, 3, 7)  # every hop crosses from one island to the other
    network = Network(Islands(islands=2, size=4), 8)

    assert len(Ring().transfers(8000, ranks, network)) == 8 * 14
    assert len(Ring().transfers(8000, tuple(range(8)), network)) == 8


def test_islands_are_the_nodes_on_one_switch_unless_they_are_given():
    islands = Network(Islands(islands=3, size=4), 12)
    ranks = tuple(range(12))

    found = Hierarchical().messages(12_000, ranks, islands)

    assert found == Hierarchical(island=4).messages(12_000, ranks, islands)
    assert found != Hierarchical(island=3).messages(12_000, ranks, islands)
    on_a_star = Hierarchical().messages(12_000, ranks, Network(Star(), 12))
    assert len(on_a_star) == 12 * 22


@pytest.mark.parametrize("num_ranks", range(1, 34))
def test_double_tree_is_shallow_and_only_a_root_has_children_in_both(num_ranks):
    first, second = double_tree(range(num_ranks))

    for tree in (first, second):
        level = {tree.root: 0}
        for parent, child in tree.downwards():
            level[child] = level[parent] + 1
        assert sorted(level) == list(range(num_ranks))
        assert max(level.values()) <= (num_ranks - 1).bit_length()
        assert max(map(len, tree.children.values()), default=0) <= 2
    assert set(first.children) & set(second.children) <= {first.root}


SUM_OF_TWO = [PointToPoint(0, 1, 8, (), 0, adds=True), PointToPoint(1, 0, 8, (0,), 0, adds=False)]


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([SUM_OF_TWO[0], SUM_OF_TWO[1]._replace(adds=True)], "adds something again"),
        ([SUM_OF_TWO[0], SUM_OF_TWO[0]], "adds something again"),
        ([SUM_OF_TWO[0], SUM_OF_TWO[1]._replace(after=())], "takes the place of more"),
    ],
)
def test_wrong_messages_break_a_law(messages, what):
    assert follow(SUM_OF_TWO, {0: {0: 1}, 1: {0: 2}}, 8) == {0: {0: 3}, 1: {0: 3}}
    with pytest.raises(AssertionError, match=what):
        follow(messages, {0: {0: 1}, 1: {0: 2}}, 8)


class Truncated(Ring):
    def messages(self, num_bytes, ranks, network):
        return super().messages(num_bytes, ranks, network)[:-1]

    def flows(self, num_bytes, ranks, network):
        flows = super().flows(num_bytes, ranks, network)
        return [flow._replace(hops_in_turn=1) for flow in flows]


def test_a_missing_message_and_a_missing_latency_break_a_law():
    with pytest.raises(AssertionError, match="instead of"):
        check_messages(Truncated(), 1000, (0, 1, 2))
    with pytest.raises(AssertionError, match="other bytes as flows"):
        check_flows(Truncated(), 3000, (0, 1, 2), Star())


def test_messages_start_when_what_they_wait_for_has_arrived():
    clock, events = Clock(), []
    fabric = Fabric(clock, Star(bandwidth=10**9, latency=1000), 3)
    messages = [
        PointToPoint(0, 1, 125),
        PointToPoint(0, 2, 125, (0,)),
        PointToPoint(1, 2, 125, (0,)),
        PointToPoint(2, 0, 0, (1, 2)),
    ]

    Exchange(
        fabric,
        Plan(messages),
        lambda: events.append(("finished", clock.now_ns)),
        started=lambda index: events.append(("started", index, clock.now_ns)),
        arrived=lambda index: events.append(("arrived", index, clock.now_ns)),
    )
    clock.run()

    assert events == [
        ("started", 0, 0),
        ("arrived", 0, 2000),
        ("started", 1, 2000),
        ("started", 2, 2000),
        ("arrived", 1, 5000),  # two share node 2's link down
        ("arrived", 2, 5000),
        ("started", 3, 5000),
        ("arrived", 3, 6000),
        ("finished", 6000),
    ]


def test_one_plan_serves_exchanges_at_the_same_time():
    plan = Plan([PointToPoint(0, 1, 125), PointToPoint(1, 2, 125, (0,))])
    clock, ended = Clock(), []
    fabric = Fabric(clock, Star(bandwidth=10**9, latency=1000), 3)

    for start_ns in (0, 10_000, 10_500):
        clock.timeout(start_ns).callbacks.append(
            lambda _: Exchange(fabric, plan, lambda: ended.append(clock.now_ns))
        )
    clock.run()

    # The second has half a message left when the third begins: each is 500 ns late on each link.
    assert ended == [4000, 14_000 + 1000, 14_500 + 1000]


def test_long_chains_that_take_no_time_do_not_recurse():
    assert seconds(Chain(segment=100), 6400, range(2000), Instant()) == 0


def test_nothing_to_send_is_finished_at_once():
    clock, finished = Clock(), []

    Exchange(Fabric(clock, Star(), 2), Plan([]), lambda: finished.append(True))

    assert finished == [True]
