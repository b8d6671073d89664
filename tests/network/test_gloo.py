"""What gloo sends, against what was counted on real connections, and closed forms."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench.network import gloo
from simbench.network.collective import PointToPoint, seconds, seconds_on
from simbench.network.collective_laws import check_messages
from simbench.network.collectives.all_gather.ring import Ring as RingAllGather
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.collectives.broadcast.binomial import Binomial
from simbench.network.collectives.reduce.reduce_scatter_gather import ReduceScatterGather
from simbench.network.collectives.reduce_scatter.ring import Ring as RingReduceScatter
from simbench.network.topologies.star import Star
from simbench.network.topology import Network

ALL = [Ring, RingReduceScatter, RingAllGather, Binomial, ReduceScatterGather]
MIB = 2**20
MS = 10**6


@pytest.mark.parametrize("collective", ALL, ids=lambda each: each.__module__.split(".")[-2])
@pytest.mark.parametrize("num_bytes", [1, 27, 10_080, 5 * MIB + 12])
def test_every_contribution_gets_where_it_belongs(collective, num_bytes):
    for p in range(1, 18):
        check_messages(collective(implementation="gloo"), num_bytes, tuple(range(2, 2 + p)))


def sent(messages):
    return sum(each.num_bytes + each.extra_bytes for each in messages)


def data(messages):
    """Return the bytes on all connections that aren't headers, useless ones among them."""
    return sum(each.num_bytes + each.extra_bytes - gloo.HEADER_BYTES for each in messages)


@given(st.integers(2, 12), st.integers(1, 40).map(lambda k: k * MIB))
def test_all_reduce_moves_what_the_textbooks_ring_moves(p, num_bytes):
    assert data(gloo.all_reduce(num_bytes, range(p))) == 2 * (p - 1) * num_bytes


@given(st.integers(2, 12), st.integers(1, 40).map(lambda k: k * MIB))
def test_no_segment_is_larger_than_a_mebibyte_and_each_rank_has_two_at_least(p, num_bytes):
    messages = [each for each in gloo.all_reduce(num_bytes, range(p)) if each.num_bytes]

    assert max(each.num_bytes for each in messages) <= MIB
    pieces = {each.begin for each in messages}
    assert len(pieces) >= min(2 * p, num_bytes // 4)


def test_reduce_of_16_mib_on_two_nodes_moves_a_half_more_than_it_needs_to():
    # As counted on the connections: 2.25 S instead of 1.5 S.
    assert data(gloo.reduce(16 * MIB, range(2))) == 2.25 * 16 * MIB
    assert data(gloo.reduce(2 * MIB, range(2))) == 1.5 * 2 * MIB


def test_every_message_of_data_waits_for_a_ready_one_of_its_receiver():
    for messages in (
        gloo.all_reduce(MIB, range(5)),
        gloo.reduce(MIB, range(5)),
        gloo.all_gather([MIB // 5] * 5, range(5)),
        gloo.broadcast(MIB, range(5)),
        gloo.with_ready(Ring().messages(MIB, tuple(range(5)), Network(Star(), 5))),
    ):
        ready = Counter()
        for each in messages:
            if each.num_bytes:
                readies = [
                    other
                    for other in each.after
                    if not messages[other].num_bytes
                    and messages[other].sender == each.receiver
                    and messages[other].receiver == each.sender
                ]
                assert readies
                ready[readies[-1]] += 1
        assert set(ready.values()) == {1}, "a ready message lets one message go"


@pytest.mark.parametrize(("p", "vectors"), [(2, 1), (4, 3), (8, 6)])
def test_the_root_of_a_broadcast_sends_to_all_its_children_at_once(p, vectors):
    star = Star(bandwidth=10**8, latency=0)

    taken_s = seconds(Binomial(implementation="gloo"), 10 * MIB, range(p), star)

    assert taken_s == pytest.approx(vectors * 80 * MIB / 1e8, rel=1e-4)


def test_a_small_message_costs_twice_the_latency_of_a_raw_one():
    star = Star(bandwidth=10**9, latency=10 * MS)
    raw = [PointToPoint(0, 1, 100)]

    raw_s = seconds_on(Network(star, 2), raw)
    ready_s = seconds_on(Network(star, 2), gloo.with_ready(raw))

    assert ready_s == pytest.approx(2 * raw_s, rel=1e-3)


@given(st.integers(2, 9), st.integers(1000, 10**6))
def test_an_all_reduce_takes_the_rings_time_and_two_latencies_for_each_step(p, num_bytes):
    """With tiny segments the latency of a ready message and of the data count, in each step."""
    latency_s = 0.01
    star = Star(bandwidth=10**12, latency=round(latency_s * 1e9))

    taken_s = seconds(Ring(implementation="gloo"), num_bytes, range(p), star)

    # Two segments are under way at once, so a step of the ring waits for both latencies once.
    assert taken_s == pytest.approx(4 * (p - 1) * latency_s, rel=0.01)


def test_gloos_broadcast_has_no_segments():
    with pytest.raises(ValidationError, match="gloo sends the whole at once"):
        Binomial(implementation="gloo", segment=1000)
