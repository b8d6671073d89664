"""Where a node's time went: spans that tile it, and which activity goes first."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.records import Message
from simbench.timeline import spans

NODES, END_NS = 3, 40
TIMES = st.integers(0, END_NS + 10)
RANKS = st.integers(0, NODES - 1)
WORK = st.lists(st.tuples(RANKS, TIMES, TIMES).map(lambda w: (w[0], min(w[1:]), max(w[1:]))))


def message(sender, receiver, sent_ns, arrived_ns):
    return Message("", 0, 0, sender, receiver, "", 1, sent_ns, arrived_ns)


@st.composite
def messages(draw):
    sent_ns = draw(TIMES)
    arrived_ns = draw(st.one_of(st.none(), st.integers(sent_ns, END_NS + 20)))
    return message(draw(RANKS), draw(RANKS), sent_ns, arrived_ns)


def tiles(num_nodes, work, sent, end_ns):
    return [
        (span.node, span.activity, span.start_ns, span.end_ns)
        for span in spans(num_nodes, work, sent, end_ns)
    ]


@given(WORK, st.lists(messages()))
def test_spans_tile_the_time_of_every_node(work, sent):
    found = tiles(NODES, work, sent, END_NS)

    for rank in range(NODES):
        own = [tile for tile in found if tile[0] == rank]
        edges = [start_ns for _, _, start_ns, _ in own] + [END_NS]
        assert edges[0] == 0
        assert edges[1:] == [end_ns for *_, end_ns in own]
        assert all(start_ns < end_ns for _, _, start_ns, end_ns in own)
        assert all(a[1] != b[1] for a, b in itertools.pairwise(own))
    assert [tile[0] for tile in found] == sorted(tile[0] for tile in found)


@given(WORK, st.lists(messages()), st.integers(0, END_NS - 1))
def test_every_nanosecond_is_named_by_what_goes_on_in_it(work, sent, at_ns):
    def going_on(start_ns, end_ns):
        return start_ns <= at_ns and (end_ns is None or at_ns < end_ns)

    for rank in range(NODES):
        between = [each for each in sent if each.sender != each.receiver]
        flying = [each for each in between if going_on(each.sent_ns, each.arrived_ns)]
        out = any(each.sender == rank for each in flying)
        in_ = any(each.receiver == rank for each in flying)
        if any(worker == rank and going_on(start, end) for worker, start, end in work):
            expected = "compute"
        else:
            expected = {(1, 1): "send+receive", (1, 0): "send", (0, 1): "receive", (0, 0): "wait"}[
                out, in_
            ]

        (found,) = [
            activity
            for node, activity, start_ns, end_ns in tiles(NODES, work, sent, END_NS)
            if node == rank and start_ns <= at_ns < end_ns
        ]

        assert found == expected


DOWN = st.lists(
    st.tuples(RANKS, TIMES, TIMES).map(lambda w: (w[0], min(w[1:]), max(w[1:]))), max_size=4
)


@given(WORK, st.lists(messages()), DOWN, st.integers(0, END_NS - 1))
def test_a_node_that_is_down_is_nothing_else(work, sent, down, at_ns):
    def going_on(found):
        (activity,) = [
            span.activity
            for span in found
            if span.node == 0 and span.start_ns <= at_ns < span.end_ns
        ]
        return activity

    is_down = any(rank == 0 and start_ns <= at_ns < end_ns for rank, start_ns, end_ns in down)
    expected = "down" if is_down else going_on(spans(NODES, work, sent, END_NS))

    assert going_on(spans(NODES, work, sent, END_NS, down=down)) == expected


def test_a_message_that_stands_still_is_not_being_sent():
    found = spans(2, [], [message(0, 1, 5, 30)], 40, standstills=[(0, 1, 10, 20)])

    assert [(span.node, span.activity, span.start_ns, span.end_ns) for span in found] == [
        (0, "wait", 0, 5),
        (0, "send", 5, 10),
        (0, "wait", 10, 20),
        (0, "send", 20, 30),
        (0, "wait", 30, 40),
        (1, "wait", 0, 5),
        (1, "receive", 5, 10),
        (1, "wait", 10, 20),
        (1, "receive", 20, 30),
        (1, "wait", 30, 40),
    ]


def test_computing_hides_what_is_on_the_way():
    assert tiles(2, [(0, 10, 20)], [message(0, 1, 5, 30)], 40) == [
        (0, "wait", 0, 5),
        (0, "send", 5, 10),
        (0, "compute", 10, 20),
        (0, "send", 20, 30),
        (0, "wait", 30, 40),
        (1, "wait", 0, 5),
        (1, "receive", 5, 30),
        (1, "wait", 30, 40),
    ]


def test_a_message_that_never_arrived_is_on_its_way_until_the_end():
    assert tiles(2, [], [message(0, 1, 5, None)], 9) == [
        (0, "wait", 0, 5),
        (0, "send", 5, 9),
        (1, "wait", 0, 5),
        (1, "receive", 5, 9),
    ]


@pytest.mark.parametrize("instant", [0, 7])
def test_what_takes_no_time_leaves_no_span(instant):
    assert tiles(1, [(0, instant, instant)], [], 9) == [(0, "wait", 0, 9)]


def test_a_message_to_oneself_is_no_communication():
    assert tiles(1, [], [message(0, 0, 2, 6)], 9) == [(0, "wait", 0, 9)]


def test_adjacent_work_is_one_span():
    assert tiles(1, [(0, 0, 4), (0, 4, 9)], [], 9) == [(0, "compute", 0, 9)]


def test_a_run_that_took_no_time_has_no_spans():
    assert tiles(2, [(0, 0, 5)], [], 0) == []
