"""Messages bring every contribution where it belongs, once; flows take as long as messages."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simbench.clock import Clock
from simbench.network.collective import Collective, Exchange, PointToPoint, seconds
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
