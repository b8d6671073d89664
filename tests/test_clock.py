"""The order of what falls on the same nanosecond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy.events import Event

from simbench.clock import Clock, Recurring


def logged(clock, log, name):
    event = Event(clock)
    event.callbacks.append(lambda _: log.append(name))
    return event


ORDERS = st.tuples(st.integers(0, 2**20 - 1), st.integers(0, 2**20 - 1), st.integers(0, 2**32 - 1))


@given(st.lists(ORDERS, unique=True, max_size=20).flatmap(st.permutations))
def test_equal_times_go_on_by_receiver_then_sender_then_number(names):
    clock, log = Clock(), []

    for name in names:
        receiver, sender, number = name
        event = logged(clock, log, name)
        clock.ready(event, None, receiver=receiver, sender=sender, number=number, delay_ns=7)
    clock.run()

    assert log == sorted(names)


@given(st.lists(st.tuples(st.integers(0, 5), *[st.integers(0, 3)] * 3), max_size=30))
def test_time_comes_before_every_rank(names):
    clock, log = Clock(), []

    for name in names:
        delay_ns, receiver, sender, number = name
        event = logged(clock, log, name)
        clock.ready(event, None, receiver=receiver, sender=sender, number=number, delay_ns=delay_ns)
    clock.run()

    assert log == sorted(names)


@given(st.permutations(["last", "ready", "timeout", "plain"]))
def test_last_comes_after_everything_that_is_ready_now(kinds):
    clock, log = Clock(), []

    for kind in kinds:
        event = logged(clock, log, kind)
        if kind == "last":
            clock.last(event)
        elif kind == "ready":
            clock.ready(event, None, receiver=2**20 - 1, sender=2**20 - 1, number=2**32 - 1)
        elif kind == "plain":
            event.succeed()
        else:
            clock.timeout(0).callbacks.append(lambda _: log.append("timeout"))
    clock.run()

    assert log[-1] == "last"
    assert clock.now_ns == 0


def test_last_comes_after_what_becomes_ready_on_the_way():
    clock, log = Clock(), []
    clock.last(logged(clock, log, "last"))
    first = logged(clock, log, "first")
    first.callbacks.append(
        lambda _: clock.ready(logged(clock, log, "second"), None, receiver=1, sender=1, number=1)
    )
    first.succeed()

    clock.run()

    assert log == ["first", "second", "last"]


def test_an_event_brings_its_value():
    clock = Clock()
    event = Event(clock)

    clock.ready(event, "news", receiver=0, sender=0, number=0)
    clock.run()

    assert event.value == "news"


def test_virtual_time_is_an_integer_and_never_loses_a_nanosecond():
    clock = Clock()
    clock.timeout(2**53)
    clock.run()
    clock.timeout(1)
    clock.run()

    assert clock.now_ns == 2**53 + 1
    assert type(clock.now_ns) is int


@pytest.mark.parametrize("delays_ns", [[], [3], [9, 4]])
def test_the_clock_tells_when_the_next_event_is_due(delays_ns):
    clock = Clock()
    for delay_ns in delays_ns:
        clock.timeout(delay_ns)

    assert clock.next_ns == (min(delays_ns) if delays_ns else None)


def test_what_recurs_happens_at_every_moment_at_which_it_is_due():
    clock, happened = Clock(), []
    each = Recurring(clock, lambda: happened.append(clock.now_ns))

    for delay_ns in (5, 2, 9, 2):
        clock.schedule(each, delay=delay_ns)
    clock.run()
    clock.last(each)
    clock.run()

    assert happened == [2, 2, 5, 9, 9]


def test_what_recurs_may_let_itself_happen_again():
    clock, happened = Clock(), []

    def happen():
        happened.append(clock.now_ns)
        if len(happened) < 3:
            clock.schedule(each, delay=10)

    each = Recurring(clock, happen)
    clock.schedule(each)
    clock.run()

    assert happened == [0, 10, 20]
