"""Collectives take what closed forms say, within 1e-6 or 1 ns per event."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.network.collective import seconds
from simbench.network.collectives.all_gather import bruck
from simbench.network.collectives.all_gather import recursive_doubling as gather_by_doubling
from simbench.network.collectives.all_gather import ring as gather_by_ring
from simbench.network.collectives.all_reduce.auto import Auto
from simbench.network.collectives.all_reduce.binomial import Binomial
from simbench.network.collectives.all_reduce.colocated_servers import ColocatedServers
from simbench.network.collectives.all_reduce.double_binary_tree import DoubleBinaryTree
from simbench.network.collectives.all_reduce.halving_doubling import HalvingDoubling
from simbench.network.collectives.all_reduce.hierarchical import Hierarchical
from simbench.network.collectives.all_reduce.recursive_doubling import RecursiveDoubling
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.collectives.all_reduce.servers import Servers
from simbench.network.collectives.broadcast.auto import Auto as AutoBroadcast
from simbench.network.collectives.broadcast.binomial import Binomial as BinomialBroadcast
from simbench.network.collectives.broadcast.chain import Chain
from simbench.network.collectives.broadcast.scatter_all_gather import ScatterAllGather
from simbench.network.collectives.reduce.binomial import Binomial as BinomialReduce
from simbench.network.collectives.reduce.reduce_scatter_gather import ReduceScatterGather
from simbench.network.collectives.reduce_scatter import recursive_halving
from simbench.network.collectives.reduce_scatter import ring as scatter_by_ring
from simbench.network.topologies.islands import Islands
from simbench.network.topologies.star import Star
from simbench.network.topology import Network
from simbench.scenario import Stop
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

GBIT = 10**9
MB = 10**6

# Of p nodes: how many latencies, and how many times the whole vector over one link.
FOR_ANY_NUMBER = {
    Ring(): lambda p: (2 * (p - 1), 2 * (p - 1) / p),
    Ring(simulate="messages"): lambda p: (2 * (p - 1), 2 * (p - 1) / p),
    ColocatedServers(): lambda p: (2 * (p > 1), 2 * (p - 1) / p),
    ColocatedServers(servers=1): lambda p: (2 * (p > 1), 2 * (p - 1)),
    Servers(): lambda p: (2, 2 * p),
    Servers(servers=4): lambda p: (2, 2 * max(1, p / 4)),
    Hierarchical(): lambda p: (2 * (p - 1), 2 * (p - 1) / p),
    Binomial(): lambda p: (2 * lg_up(p), 2 * lg_up(p)),
    scatter_by_ring.Ring(): lambda p: (p - 1, (p - 1) / p),
    gather_by_ring.Ring(): lambda p: (p - 1, (p - 1) / p),
    bruck.Bruck(): lambda p: (lg_up(p), (p - 1) / p),
    BinomialBroadcast(): lambda p: (lg_up(p), lg_up(p)),
    BinomialReduce(): lambda p: (lg_up(p), lg_up(p)),
    # What is left out of the power of two costs a message of everything before, and one after.
    RecursiveDoubling(): lambda p: (lg(p) + 2 * rest(p), lg(p) + 2 * rest(p)),
    HalvingDoubling(): lambda p: (
        2 * lg(p) + 2 * rest(p),
        2 * (power(p) - 1) / power(p) + 2 * rest(p),
    ),
    ReduceScatterGather(): lambda p: (
        2 * lg(p) + rest(p),
        2 * (power(p) - 1) / power(p) + rest(p),
    ),
}
FOR_POWERS_OF_TWO = {
    recursive_halving.RecursiveHalving(): lambda p: (lg(p), (p - 1) / p),
    gather_by_doubling.RecursiveDoubling(): lambda p: (lg(p), (p - 1) / p),
    ScatterAllGather(): lambda p: (lg(p) + p - 1, 2 * (p - 1) / p),
}


def lg(p):
    return p.bit_length() - 1


def power(p):
    return 1 << lg(p)


def rest(p):
    return int(p > power(p))


def lg_up(p):
    return (p - 1).bit_length()


def near(expected_s, in_turn):
    return pytest.approx(expected_s, rel=1e-6, abs=max(1, in_turn) * 1e-9)


STARS = st.builds(
    Star, bandwidth=st.sampled_from([10**6, GBIT, 10**11]), latency=st.integers(0, 10**8)
)


@given(
    st.sampled_from(list(FOR_ANY_NUMBER)),
    st.integers(1, 20),
    st.integers(1, 10**4),
    STARS,
)
def test_closed_forms_for_any_number_of_nodes(collective, p, size, star):
    num_bytes = size * math.lcm(4, p, power(p))
    latencies, shares = FOR_ANY_NUMBER[collective](p)

    took_s = seconds(collective, num_bytes, range(p), star)

    expected_s = latencies * star.latency / 1e9 + shares * num_bytes * 8 / star.bandwidth
    assert took_s == near(expected_s, latencies)


@given(
    st.sampled_from(list(FOR_POWERS_OF_TWO)),
    st.sampled_from([1, 2, 4, 8, 16, 32]),
    st.integers(1, 10**6),
    STARS,
)
def test_closed_forms_for_powers_of_two(collective, p, size, star):
    latencies, shares = FOR_POWERS_OF_TWO[collective](p)

    took_s = seconds(collective, size * p, range(p), star)

    expected_s = latencies * star.latency / 1e9 + shares * size * p * 8 / star.bandwidth
    assert took_s == near(expected_s, latencies)


@given(st.integers(2, 12), st.integers(1, 64), st.integers(1, 10**5), STARS)
def test_segments_follow_each_other_along_a_chain(p, count, segment_bytes, star):
    took_s = seconds(Chain(segment=segment_bytes), count * segment_bytes, range(p), star)

    in_turn = p - 2 + count
    expected_s = in_turn * (star.latency / 1e9 + segment_bytes * 8 / star.bandwidth)
    assert took_s == near(expected_s, in_turn)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 10**5))
def test_hierarchical_crosses_between_islands_once_per_piece(islands, size, pieces):
    """With one link for a whole island, all of its rings share it."""
    p, num_bytes = islands * size, islands * size * pieces
    topology = Islands(
        islands=islands,
        size=size,
        bandwidth=100 * GBIT,
        latency=1000,
        bandwidth_between=GBIT,
        latency_between=50_000,
    )

    took_s = seconds(Hierarchical(), num_bytes, range(p), topology)

    inside_s = 2 * (size - 1) * (1e-6 + num_bytes / size * 8 / 100e9)
    between_s = 2 * (islands - 1) * (51e-6 + size * num_bytes / p * 8 / min(1e9, size * 100e9))
    assert took_s == near(inside_s + between_s, 2 * (size + islands))


# 100 MB over links of 1.25e9 B/s with 50 us, 8 workers.
TEN_GBIT = Star(bandwidth=10 * GBIT, latency=50_000)
GOLDEN = {
    Ring(): 0.140700,
    HalvingDoubling(): 0.140300,
    RecursiveDoubling(): 0.240150,
    Binomial(): 0.480300,
    Servers(): 1.280100,
    ColocatedServers(): 0.140100,
}


@pytest.mark.parametrize(("collective", "expected_s"), GOLDEN.items(), ids=str)
def test_golden_times(collective, expected_s):
    assert seconds(collective, 100 * MB, range(8), TEN_GBIT) == pytest.approx(expected_s, rel=1e-6)


def rounds_s(simulation, count):
    """Return the virtual seconds from each update to the next, computing left out."""
    while len(simulation.updates) < count + 1:
        assert simulation.advance()
    times_ns = [update.time_ns for update in simulation.updates]
    return [(b - a - 10**9) / 1e9 for a, b in itertools.pairwise(times_ns)][:count]


@pytest.fixture(scope="module")
def hundred_mb(scenario):
    """Return a scenario of 25 million parameters on 8 workers; it takes seconds to check one."""
    return scenario(nodes=8, dimension=25_000_000, step_ns=10**9, network=TEN_GBIT)


def changed(scenario, **changes):
    return scenario.model_copy(update=changes)


@pytest.mark.parametrize(("collective", "expected_s"), GOLDEN.items(), ids=str)
def test_golden_times_of_a_scenario(hundred_mb, simulation, collective, expected_s):
    world = simulation(changed(hundred_mb, all_reduce=collective, strategies={"only": Averaging()}))

    assert rounds_s(world, 2) == pytest.approx([expected_s] * 2, rel=1e-6)


def test_golden_one_server_push_then_pull(hundred_mb, simulation):
    server = simulation(changed(hundred_mb, strategies={"only": ParameterServer()}))

    assert rounds_s(server, 2) == pytest.approx([1.280100] * 2, rel=1e-6)
    pushes = [m for m in server.world.messages if m.tag == "push"]
    first = server.world.arrivals[pushes[0].number] - pushes[0].sent_ns
    assert first / 1e9 == pytest.approx(0.640050, rel=1e-6)


@pytest.mark.parametrize("num_servers", [1, 3, 8, 20])
def test_servers_of_their_own_cost_the_fuller_link_each_way(num_servers):
    star = Star(bandwidth=10 * GBIT, latency=0)

    took_s = seconds(Servers(servers=num_servers), 60 * MB, range(8), star)

    assert took_s == pytest.approx(2 * max(1, 8 / num_servers) * 60e6 / 1.25e9, rel=1e-6)


def bus_bytes_per_s(collective, num_bytes, p, star):
    """Return the bus bandwidth of an all-reduce as nccl-tests defines it."""
    return num_bytes / seconds(collective, num_bytes, range(p), star) * 2 * (p - 1) / p


@pytest.mark.parametrize("p", [2, 4, 8, 32])
@pytest.mark.parametrize(
    "collective",
    [Ring(), HalvingDoubling(), ColocatedServers(), Hierarchical(island=2)],
    ids=lambda each: each.kind,
)
def test_without_latency_the_bus_bandwidth_is_that_of_the_links(collective, p):
    star = Star(bandwidth=GBIT, latency=0)

    busbw = bus_bytes_per_s(collective, 32 * MB, p, star)
    assert busbw * 8 == pytest.approx(GBIT, rel=1e-6)


@pytest.mark.parametrize("p", [3, 5, 7, 33])
def test_a_ring_has_the_bus_bandwidth_of_its_links_for_every_number_of_nodes(p):
    busbw = bus_bytes_per_s(Ring(), p * MB, p, Star(bandwidth=GBIT, latency=0))

    assert busbw * 8 == pytest.approx(GBIT, rel=1e-6)


@pytest.mark.parametrize("p", [3, 8, 13, 32])
def test_a_double_tree_uses_nearly_all_of_the_links_and_few_latencies(p):
    star = Star(bandwidth=10 * GBIT, latency=0)
    busy_s = 2 * 128 * 2**20 / 1.25e9
    assert seconds(DoubleBinaryTree(), 128 * 2**20, range(p), star) < 1.06 * busy_s

    far = Star(bandwidth=10 * GBIT, latency=10**6)
    # A segment waits for both children of each of lg p levels, up and down.
    assert seconds(DoubleBinaryTree(), 8, range(p), far) <= 4 * lg_up(p) * 1.01e-3


def test_auto_takes_few_steps_for_small_vectors_and_little_traffic_for_large_ones():
    def chosen(auto, num_bytes, star):
        return auto.chosen(num_bytes, tuple(range(8)), Network(star, 8)).kind

    assert chosen(Auto(), 1000, TEN_GBIT) == "recursive_doubling"
    assert chosen(Auto(), 100 * MB, TEN_GBIT) == "halving_doubling"
    assert chosen(AutoBroadcast(), 1000, TEN_GBIT) == "binomial"
    assert chosen(AutoBroadcast(), 100 * MB, TEN_GBIT) == "chain"


@given(st.integers(1, 10), st.integers(1, 10**8), STARS)
def test_auto_is_the_fastest_of_all_and_without_need_no_other(p, num_bytes, star):
    network, ranks = Network(star, p), tuple(range(p))
    others = [
        Ring(), RecursiveDoubling(), HalvingDoubling(), Binomial(), DoubleBinaryTree(),
        Hierarchical(),
    ]  # fmt: skip

    took_s = seconds(Auto(), num_bytes, range(p), star)

    times = {each.kind: seconds(each, num_bytes, range(p), star) for each in others}
    assert took_s <= min(times.values()) * (1 + 1e-6) + 1e-9
    kind = Auto().chosen(num_bytes, ranks, network).kind
    assert times[kind] == took_s
    assert kind == Auto().chosen(num_bytes, ranks, network).kind


def test_of_equally_fast_algorithms_auto_takes_the_one_with_the_fewest_messages():
    # Without latency, a ring, halving-doubling and rings of islands all take 2(p-1)/p.
    star = Star(bandwidth=GBIT, latency=0)

    assert Auto().chosen(8 * MB, tuple(range(8)), Network(star, 8)).kind == "ring"


def test_auto_knows_islands():
    islands = Islands(islands=3, size=8, bandwidth=900 * GBIT, bandwidth_between=10 * GBIT)

    assert Auto().chosen(100 * MB, tuple(range(24)), Network(islands, 24)).kind == "hierarchical"


def test_the_algorithm_decides_when_a_mean_arrives_and_not_what_it_is(scenario, simulation):
    values = {
        collective.kind: [
            version.recipe.key
            for version in versions(
                simulation(
                    scenario(
                        nodes=4,
                        all_reduce=collective,
                        strategies={"only": Averaging()},
                        network=Star(),
                        stop=Stop(updates=5),
                    )
                )
            )
        ]
        for collective in (*GOLDEN, Hierarchical(), DoubleBinaryTree(), Auto())
    }

    assert len(values) == len(GOLDEN) + 3
    assert all(keys == values["ring"] for keys in values.values())


def versions(simulation):
    while simulation.advance():
        pass
    return simulation.versions


def test_servers_of_an_all_reduce_are_machines_that_only_it_uses(scenario, simulation):
    strategies = {"averaging": Averaging(), "server": ParameterServer()}
    made = scenario(nodes=3, all_reduce=Servers(servers=2), strategies=strategies, network=Star())
    averaging = simulation(changed(made, strategies={"only": Averaging()}))
    server = simulation(changed(made, strategies={"only": ParameterServer()}))

    assert averaging.advance()
    assert averaging.advance()
    assert (averaging.num_nodes, server.num_nodes) == (5, 4)
    sent = {(m.sender, m.receiver, m.num_bytes) for m in averaging.world.messages}
    half = 10 * 4 // 2
    pushes = {(worker, server, half) for worker in range(3) for server in (3, 4)}
    assert sent == pushes | {(b, a, n) for a, b, n in pushes}


@pytest.mark.parametrize("collective", [Ring(simulate="messages"), Binomial(), Auto()], ids=str)
def test_a_scenario_counts_the_bytes_of_messages(scenario, simulation, collective):
    world = simulation(
        scenario(
            nodes=4,
            all_reduce=collective,
            strategies={"only": Averaging()},
            network=Star(),
            stop=Stop(updates=1),
        )
    )
    versions(world)

    messages = world.world.messages
    assert world.world.payload_bytes == sum(message.num_bytes for message in messages)
    expected = collective.transfers(40, (0, 1, 2, 3), world.world.fabric.network)
    assert sorted((m.sender, m.receiver, m.num_bytes) for m in messages) == sorted(
        (each.sender, each.receiver, each.num_bytes) for each in expected
    )
    assert all(message.number in world.world.arrivals for message in messages)
