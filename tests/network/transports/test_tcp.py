"""TCP against closed forms: headers, turns, windows, loss, acknowledgements, drift, bursts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.clock import Clock
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.fabric import Fabric
from simbench.network.topologies.star import Star
from simbench.network.topology import Network
from simbench.network.transports.tcp import TCP

MS = 10**6
GBIT = 10**9
PLAIN = {"drift": 0.0, "warm": True}
"""No chance, and windows that are open."""


def arrivals(tcp, flows, *, num_nodes=6, bandwidth=GBIT, latency=0, seed=0, **star):
    """Return when each of ``flows`` (sender, receiver, bytes, start) arrives, in ns."""
    clock = Clock()
    topology = Star(bandwidth=bandwidth, latency=latency, transport=tcp, **star)
    carrier = tcp.carrier(Fabric(clock, topology, num_nodes), seed)
    arrived = {}

    def begin(number):
        sender, receiver, num_bytes, _ = flows[number]

        def finished():
            assert number not in arrived
            arrived[number] = clock.now_ns

        carrier.carry(sender, receiver, num_bytes, finished)

    for number, flow in enumerate(flows):
        clock.timeout(flow[3]).callbacks.append(lambda _, number=number: begin(number))
    clock.run()
    assert len(arrived) == len(flows)
    return [arrived[number] for number in range(len(flows))]


def wire_ns(num_bytes, bandwidth=GBIT, segment=1448, frame=1538):
    """Return the time of a message with its headers on a link of its own."""
    return 8e9 * (num_bytes + (frame - segment) * -(-num_bytes // segment)) / bandwidth


@given(st.integers(1, 10**8), st.integers(0, 10**8), st.integers(0, 10**6))
def test_a_message_takes_overhead_latency_and_its_bytes_with_headers(size, latency, overhead):
    tcp = TCP(**PLAIN, overhead=overhead, max_window=10**9)

    (arrived_ns,) = arrivals(tcp, [(0, 1, size, 0)], latency=latency)

    assert arrived_ns == pytest.approx(overhead + latency + wire_ns(size), rel=1e-6, abs=2)


def test_messages_of_one_connection_arrive_in_turn_and_overlap_their_latencies():
    first_ns, second_ns = arrivals(
        TCP(**PLAIN), [(0, 1, 144_800, 0), (0, 1, 144_800, 0)], latency=10 * MS
    )

    assert first_ns == pytest.approx(10 * MS + wire_ns(144_800), abs=2)
    assert second_ns == pytest.approx(10 * MS + 2 * wire_ns(144_800), abs=4)


def test_a_message_keeps_its_link_for_the_gap():
    without, with_gap = (
        arrivals(TCP(**PLAIN, gap=gap), [(0, 1, 144_800, 0), (0, 1, 144_800, 0)])[1]
        for gap in (0, MS)
    )

    assert with_gap == pytest.approx(without + 2 * MS, abs=10)


# -- windows


def test_a_new_connection_doubles_its_window_in_every_round_trip():
    # 10, 20, 40 segments in the first three round trips; the rest at 80 a round trip.
    latency, segment = 50 * MS, 1448
    size = (10 + 20 + 40 + 20) * segment

    (arrived_ns,) = arrivals(TCP(drift=0.0), [(0, 1, size, 0)], latency=latency)

    assert arrived_ns == pytest.approx(latency + 3 * 2 * latency + 2 * latency * 20 / 80, rel=1e-3)


def test_a_window_stays_open_from_message_to_message_and_closes_while_idle():
    """After t time-outs of 200 ms, round trip and queue it is halved t times, down to the first."""
    size, latency = 4 * 2**20, 50 * MS
    slow_ns, again_ns, later_ns = (
        arrivals(TCP(drift=0.0), flows, latency=latency)[-1] - flows[-1][3]
        for flows in (
            [(0, 1, size, 0)],
            [(0, 1, size, 0), (0, 1, size, 10**9)],
            [(0, 1, size, 0), (0, 1, size, 100 * 10**9)],
        )
    )

    assert again_ns < 0.5 * slow_ns
    assert later_ns == pytest.approx(slow_ns, rel=1e-9)


@given(st.integers(1, 64), st.integers(1, 200))
def test_buffers_cap_the_rate_at_a_window_per_round_trip(kib, latency_ms):
    tcp = TCP(**PLAIN, max_window=kib * 1024, queue=0)
    size, round_trip_s = 100 * kib * 1024, 2e-3 * latency_ms

    (arrived_ns,) = arrivals(tcp, [(0, 1, size, 0)], latency=latency_ms * MS, bandwidth=100 * GBIT)

    most = kib * 1024 / round_trip_s
    assert arrived_ns / 1e9 == pytest.approx(round_trip_s / 2 + size / most, rel=0.005)


# -- loss


def test_mathis():
    tcp = TCP(**PLAIN, segment=1460, loss_law="mathis")

    assert tcp.lossy_rate_bps(100 * MS, 1e-4) / 8 == pytest.approx(1.7881e6, rel=1e-4)


@given(st.floats(1e-6, 0.3), st.integers(MS, 1000 * MS))
def test_time_outs_make_it_slower_than_mathis(loss, round_trip_ns):
    laws = {
        law: TCP(loss_law=law).lossy_rate_bps(round_trip_ns, loss) for law in ("pftk", "mathis")
    }

    assert laws["pftk"] < laws["mathis"]


def test_loss_caps_a_transfer():
    size, loss = 10**7, 1e-4
    tcp = TCP(**PLAIN, loss_law="mathis")

    (arrived_ns,) = arrivals(tcp, [(0, 1, size, 0)], latency=50 * MS, loss=loss)

    path_loss = 1 - (1 - loss) ** 2
    rate_bps = tcp.lossy_rate_bps(100 * MS, path_loss)
    assert arrived_ns == pytest.approx(50 * MS + 8e9 * size / rate_bps, rel=1e-3)


# -- acknowledgements


def test_acknowledgements_take_their_part_of_links_full_both_ways():
    """Around a ring: each link has data one way, and acknowledgements of others' data with it."""
    tcp = TCP(**PLAIN, frame=1514, acknowledgement=66)
    size, ring = 14_480_000, [(i, (i + 1) % 4, 14_480_000, 0) for i in range(4)]

    ended_ns = arrivals(tcp, ring)

    ratio = 66 / (2 * 1514)
    assert ended_ns == [pytest.approx(wire_ns(size, frame=1514) * (1 + ratio), rel=1e-6)] * 4


def test_acknowledgements_travel_with_data_of_the_same_connection():
    tcp = TCP(**PLAIN)

    ended_ns = arrivals(tcp, [(0, 1, 14_480_000, 0), (1, 0, 14_480_000, 0)])

    assert ended_ns == [pytest.approx(wire_ns(14_480_000), rel=1e-6)] * 2


def test_links_are_whole_again_once_nothing_is_acknowledged():
    tcp = TCP(**PLAIN)
    size = 1_448_000
    flows = [(0, 1, size, 0), (1, 2, size, 0), (0, 1, size, 10**9)]

    *_, last_ns = arrivals(tcp, flows)

    assert last_ns - 10**9 == pytest.approx(wire_ns(size), rel=1e-6)


# -- sharing


@given(st.integers(2, 5), st.integers(0, 2**32))
def test_chance_moves_single_flows_but_not_when_all_are_through(senders, seed):
    size = 100_000
    flows = [(sender, 0, size, 0) for sender in range(1, senders + 1)]

    ended_ns = arrivals(TCP(warm=True), flows, seed=seed)
    fair_ns = arrivals(TCP(**PLAIN), flows)

    assert max(ended_ns) == pytest.approx(max(fair_ns), rel=1e-6)
    assert len(set(ended_ns)) == senders, "they drift apart"
    assert len(set(fair_ns)) == 1
    assert ended_ns == arrivals(TCP(warm=True), flows, seed=seed), "a seed's chance is the same"
    assert ended_ns != arrivals(TCP(warm=True), flows, seed=seed + 1)


def test_with_short_queues_shares_are_in_proportion_to_one_over_round_trip_and_queue():
    """Two flows to node 0 over its full link, one from 20 times as far; windows as of CUBIC's
    Reno-friendly region."""
    tcp = TCP(**PLAIN, queue=64 * 2**10, acknowledgement=0)
    latencies = (2 * MS, 2 * MS, 40 * MS)
    sizes = 4 * 2**20
    clock = Clock()
    star = Star(bandwidth=50 * MS, latency=latencies, transport=tcp)
    carrier = tcp.carrier(Fabric(clock, star, 3), 0)
    ended = {}
    for sender in (1, 2):
        carrier.carry(
            sender, 0, sizes, lambda sender=sender: ended.setdefault(sender, clock.now_ns)
        )
    clock.run()

    queue_ms = 8e3 * 64 * 2**10 / 50e6
    near, far = 1 / (4 + queue_ms), 1 / (42 + queue_ms)
    total_ns = wire_ns(sizes, 50 * MS)
    # The near flow ends first; the far one had nothing to share with while latency differed.
    assert ended[1] == pytest.approx(total_ns * (near + far) / near, rel=0.03)
    # What it had of the link fills no link alone: it goes on slowly.
    assert ended[2] > 1.5 * 2 * total_ns


def test_collectives_are_simulated_message_by_message():
    network = Network(Star(transport=TCP()), 4)

    assert Ring().transfers(10**6, range(4), network) == Ring().messages(10**6, range(4), network)


# -- bursts


@given(st.integers(1, 10**6), st.integers(0, 10**5))
def test_what_an_idle_link_has_saved_up_passes_at_once(size, burst):
    tcp = TCP(**PLAIN)

    (arrived_ns,) = arrivals(tcp, [(0, 1, size, 0)], burst=burst)

    assert arrived_ns == pytest.approx(max(0, wire_ns(size) - 8e9 * burst / GBIT), abs=2)


def test_a_link_saves_up_at_its_rate_while_it_is_idle():
    tcp, size, burst = TCP(**PLAIN), 144_800, 10_000
    first_ns = round(wire_ns(size) - 8e9 * burst / GBIT)
    idle_ns = 20_000  # 2,500 bytes of the 10,000
    flows = [(0, 1, size, 0), (0, 1, size, first_ns + idle_ns)]

    _, second_ns = arrivals(tcp, flows, burst=burst)

    assert second_ns - flows[1][3] == pytest.approx(wire_ns(size) - idle_ns, abs=4)


def test_a_busy_link_has_nothing_saved_up():
    tcp, size, burst = TCP(**PLAIN), 144_800, 10_000
    flows = [(1, 0, size, 0), (2, 0, size, 1000)]

    *_, last_ns = arrivals(tcp, flows, burst=burst)

    assert last_ns == pytest.approx(2 * wire_ns(size) - 8e9 * burst / GBIT, abs=4)
