"""Flows on the virtual clock against closed forms: within 1e-6 or 1 ns per event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.clock import Clock
from simbench.network.agenda import Agenda
from simbench.network.fabric import Fabric
from simbench.network.sharing import Sharing
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star

GBIT = 10**9


def arrivals(topology, num_nodes, flows):
    """Return when each of ``flows`` (sender, receiver, bytes, start) arrives."""
    clock = Clock()
    fabric = Fabric(clock, topology, num_nodes)
    arrived = {}

    def begin(number, sender, receiver, num_bytes):
        def finished():
            assert number not in arrived
            arrived[number] = clock.now_ns

        fabric.carry(sender, receiver, num_bytes, finished)

    for number, (sender, receiver, num_bytes, start_ns) in enumerate(flows):
        clock.timeout(start_ns).callbacks.append(
            lambda _, what=(number, sender, receiver, num_bytes): begin(*what)
        )
    clock.run()
    assert len(arrived) == len(flows)
    return [arrived[number] for number in range(len(flows))]


def near(expected_ns, events=1):
    return pytest.approx(expected_ns, rel=1e-6, abs=events)


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(0, 10**9))
def test_one_flow_takes_latency_and_its_bits_over_the_rate(num_bytes, rate_bps, latency_ns):
    star = Star(bandwidth=rate_bps, latency=latency_ns)

    (arrived_ns,) = arrivals(star, 2, [(0, 1, num_bytes, 0)])

    assert arrived_ns == near(latency_ns + 8e9 * num_bytes / rate_bps)
    assert arrived_ns >= latency_ns + 1


def test_a_flow_that_ends_on_a_nanosecond_ends_on_it_exactly():
    assert arrivals(Star(bandwidth=GBIT, latency=7), 2, [(0, 1, 125, 0)]) == [1007]


def test_a_flow_that_ends_between_two_nanoseconds_ends_at_the_later():
    assert arrivals(Star(bandwidth=3 * GBIT, latency=0), 2, [(0, 1, 1, 0)]) == [3]


@given(st.integers(1, 20), st.integers(1, 10**9), st.integers(0, 10**7))
def test_incast_costs_the_sum_of_all_flows(num_senders, num_bytes, latency_ns):
    star = Star(bandwidth=GBIT, latency=latency_ns)
    flows = [(sender, num_senders, num_bytes, 0) for sender in range(num_senders)]

    arrived_ns = arrivals(star, num_senders + 1, flows)

    assert set(arrived_ns) == {arrived_ns[0]}
    assert arrived_ns[0] == near(latency_ns + 8 * num_senders * num_bytes)


@given(st.integers(1, 20), st.integers(1, 10**9))
def test_the_same_holds_for_one_sender_of_many(num_receivers, num_bytes):
    flows = [(0, receiver, num_bytes, 0) for receiver in range(1, num_receivers + 1)]

    arrived_ns = arrivals(Star(bandwidth=GBIT, latency=0), num_receivers + 1, flows)

    assert arrived_ns == [near(8 * num_receivers * num_bytes)] * num_receivers


@given(st.integers(2, 12), st.integers(1, 10**9))
def test_flows_between_pairs_of_their_own_do_not_meet(num_pairs, num_bytes):
    flows = [(2 * pair, 2 * pair + 1, num_bytes, 0) for pair in range(num_pairs)]

    arrived_ns = arrivals(Star(bandwidth=GBIT, latency=0), 2 * num_pairs, flows)

    assert arrived_ns == [8 * num_bytes] * num_pairs


def test_both_directions_of_a_link_are_separate():
    flows = [(0, 1, 1000, 0), (1, 0, 1000, 0)]

    assert arrivals(Star(bandwidth=GBIT, latency=0), 2, flows) == [8000, 8000]


def test_a_flow_that_departs_frees_its_share():
    # Together until the short one is through at 2 * 8 us; the long one then has the link alone.
    flows = [(0, 2, 1000, 0), (1, 2, 3000, 0)]

    assert arrivals(Star(bandwidth=GBIT, latency=0), 3, flows) == [16_000, 32_000]


def test_a_flow_that_joins_takes_its_share():
    # Alone for 8 us, shared from there: 2000 bytes are left, at half the rate 32 us.
    flows = [(0, 2, 3000, 0), (1, 2, 2000, 8000)]

    assert arrivals(Star(bandwidth=GBIT, latency=0), 3, flows) == [40_000, 40_000]


def test_a_share_that_one_flow_can_not_use_goes_to_others():
    # 0->2 shares its way up with 0->3, which shares its way down with 1->3 and 4->3: a third each.
    star = Star(bandwidth=3 * GBIT, latency=0)
    flows = [(0, 2, 2000, 0), (0, 3, 1000, 0), (1, 3, 1000, 0), (4, 3, 1000, 0)]

    assert arrivals(star, 5, flows) == [8000, 8000, 8000, 8000]


FLOWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 10**6), st.integers(0, 10**7)),
    max_size=12,
)


@given(FLOWS, st.integers(0, 10**6))
def test_no_link_ever_carries_more_than_its_rate(flows, latency_ns):
    arrived_ns = arrivals(Star(bandwidth=GBIT, latency=latency_ns), 4, flows)

    for node in range(4):
        for end in (0, 1):
            through = [
                (start_ns + latency_ns, at_ns, num_bytes)
                for (*ends, num_bytes, start_ns), at_ns in zip(flows, arrived_ns, strict=True)
                if ends[end] == node and ends[0] != ends[1] and num_bytes
            ]
            for since_ns, _, _ in through:
                for _, until_ns, _ in through:
                    inside = sum(
                        n for start, at, n in through if since_ns <= start and at <= until_ns
                    )
                    slack = 1e-6 * inside * 8 + len(through) + 1
                    assert inside * 8 <= max(0, until_ns - since_ns) + slack


@given(FLOWS, st.integers(0, 10**6))
def test_nothing_arrives_sooner_than_alone_nor_later_than_all_in_turn(flows, latency_ns):
    arrived_ns = arrivals(Star(bandwidth=GBIT, latency=latency_ns), 4, flows)

    total_ns = sum(8 * num_bytes for *_, num_bytes, _ in flows)
    for (sender, receiver, num_bytes, start_ns), at_ns in zip(flows, arrived_ns, strict=True):
        if sender == receiver:
            assert at_ns == start_ns
            continue
        alone_ns = start_ns + latency_ns + 8 * num_bytes
        assert at_ns >= alone_ns * (1 - 1e-6) - 1
        assert at_ns <= start_ns + latency_ns + total_ns * (1 + 1e-6) + 2 * len(flows)


@given(FLOWS, st.randoms(use_true_random=False))
def test_arrivals_do_not_depend_on_the_order_of_asking(flows, random):
    order = list(range(len(flows)))
    random.shuffle(order)
    star = Star(bandwidth=GBIT, latency=10**5)

    arrived_ns = arrivals(star, 4, flows)

    assert arrivals(star, 4, [flows[i] for i in order]) == [near(arrived_ns[i], 12) for i in order]


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 2, *[st.integers(0, 10**12)] * 2), max_size=9))
def test_on_an_instant_network_everything_arrives_when_it_is_sent(flows):
    assert arrivals(Instant(), 4, flows) == [start_ns for *_, start_ns in flows]


def test_a_message_without_bytes_takes_the_latency_only():
    assert arrivals(Star(bandwidth=1, latency=50), 2, [(0, 1, 0, 3)]) == [53]


@pytest.mark.parametrize(("hops", "expected_ns"), [(0, 8000), (1, 8050), (14, 8700)])
def test_a_chain_of_messages_waits_for_the_latency_once_per_hop(hops, expected_ns):
    clock, arrived = Clock(), []
    fabric = Fabric(clock, Star(bandwidth=GBIT, latency=50), 2)

    fabric.carry(0, 1, 1000, lambda: arrived.append(clock.now_ns), hops_in_turn=hops)
    clock.run()

    assert arrived == [expected_ns]


def test_rates_are_worked_out_once_per_instant(monkeypatch):
    moments = []
    settle = Sharing.settle
    monkeypatch.setattr(
        Sharing, "settle", lambda self, now_ns: (moments.append(now_ns), settle(self, now_ns))
    )

    arrivals(Star(bandwidth=GBIT, latency=5), 51, [(i, 50, 1000, 0) for i in range(50)])

    assert moments == [5, 400_005]


def test_no_alarm_is_set_before_rates_are_known(monkeypatch):
    moments = []
    set_alarm = Agenda._set_alarm
    monkeypatch.setattr(
        Agenda, "_set_alarm", lambda self, ns: (moments.append(ns), set_alarm(self, ns))
    )
    clock = Clock()
    fabric = Fabric(clock, Star(bandwidth=GBIT, latency=0), 3)

    for sender, num_bytes, delay_ns in ((0, 1000, 0), (1, 3000, 0), (0, 125, 40_000)):
        fabric.carry(sender, 2, num_bytes, clock.event().succeed, delay_ns=delay_ns)
    clock.run()

    # Alone the first would end after 8 us. It ends after 16, and only once who waits for it has
    # gone on is it known that the second ends before the third begins.
    assert moments == [8000, 16_000, 32_000, 40_000, 41_000]


def test_flows_that_meet_nobody_need_no_rates(monkeypatch):
    monkeypatch.setattr(Sharing, "settle", None)

    flows = [(i, (i + 1) % 9, 125, step * 1000) for step in range(3) for i in range(9)]
    arrived_ns = arrivals(Star(bandwidth=GBIT, latency=5), 9, flows)

    assert arrived_ns == [1005] * 9 + [2005] * 9 + [3005] * 9
