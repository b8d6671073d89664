"""One thing at a time, first come first served; what is given up frees the turn."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from simbench.clock import Clock
from simbench.cluster.processor import Processor, Release


def run(durations_ns, given_up=()):
    """Occupy a processor, give up number i at a time; return what was done and worked when."""
    clock, done, worked = Clock(), [], []
    processor = Processor(clock, 0, lambda *stretch: worked.append(stretch))
    for number, duration_ns in enumerate(durations_ns):
        end = clock.event()
        end.callbacks.append(lambda _, number=number: done.append((number, clock.now_ns)))
        process = processor.occupy(duration_ns, end, number)
        for which, at_ns in given_up:
            if which == number:

                def give_up(_, process=process):
                    if process.is_alive:
                        process.interrupt()

                clock.timeout(at_ns).callbacks.append(give_up)
    clock.run()
    assert processor.busy_since_ns is None
    return done, worked


def test_work_goes_in_the_order_of_asking():
    assert run([5, 3, 4]) == ([(0, 5), (1, 8), (2, 12)], [(0, 0, 5), (0, 5, 8), (0, 8, 12)])


def test_work_given_up_frees_the_processor_at_once_and_counts_until_then():
    assert run([5, 3], [(0, 2)]) == ([(1, 5)], [(0, 0, 2), (0, 2, 5)])


def test_work_given_up_before_its_turn_leaves_no_trace():
    assert run([5, 3, 4], [(1, 2)]) == ([(0, 5), (2, 9)], [(0, 0, 5), (0, 5, 9)])


def test_work_given_up_before_it_began_leaves_no_trace():
    done, worked = run([5, 3], [(0, 0)])

    assert done == [(1, 3)]
    assert [stretch for stretch in worked if stretch[1] < stretch[2]] == [(0, 0, 3)]


def test_a_turn_that_comes_at_the_instant_of_giving_up_passes_on():
    done, worked = run([5, 3, 4], [(1, 5)])

    assert done == [(0, 5), (2, 9)]
    assert [stretch for stretch in worked if stretch[1] < stretch[2]] == [(0, 0, 5), (0, 5, 9)]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.data())
def test_whatever_is_given_up_the_rest_is_done_without_overlap(durations_ns, data):
    numbers = st.integers(0, len(durations_ns) - 1)
    given_up = data.draw(st.lists(st.tuples(numbers, st.integers(0, 30)), max_size=4))

    done, worked = run(durations_ns, given_up)

    kept = set(range(len(durations_ns))) - {number for number, _ in given_up}
    assert kept <= {number for number, _ in done}
    assert [number for number, _ in done] == sorted(number for number, _ in done)
    for (_, _, end_ns), (_, start_ns, _) in itertools.pairwise(worked):
        assert end_ns <= start_ns


def test_the_processor_says_since_when_it_is_busy():
    clock = Clock()
    processor = Processor(clock, 0, lambda *_: None)
    processor.occupy(5, clock.event(), None)
    processor.occupy(5, clock.event(), None)

    clock.run(until=7)

    assert processor.busy_since_ns == 5


def run_with_releases(after_ns, duration_ns, give_up_at_ns=None):
    """Release something after each of ``after_ns`` of a second piece of work; return what when."""
    clock, log, worked = Clock(), [], []
    processor = Processor(clock, 0, lambda *stretch: worked.append(stretch))
    processor.occupy(5, clock.event(), None)
    releases = [Release(each_ns, clock.event(), f"after {each_ns}".format) for each_ns in after_ns]
    end = clock.event()
    for event in [*(release.event for release in releases), end]:
        event.callbacks.append(lambda event: log.append((event.value, clock.now_ns)))
    process = processor.occupy(duration_ns, end, "all", releases)
    if give_up_at_ns is not None:
        clock.timeout(give_up_at_ns).callbacks.append(lambda _: process.interrupt())
    clock.run()
    return log, worked


def test_parts_come_out_counted_from_the_start_of_the_work_the_last_before_all():
    log, worked = run_with_releases([0, 3, 3, 8], 8)

    expected = [("after 0", 5), ("after 3", 8), ("after 3", 8), ("after 8", 13), ("all", 13)]
    assert log == expected
    assert worked == [(0, 0, 5), (0, 5, 13)]


def test_what_had_not_come_out_when_the_work_was_given_up_never_does():
    log, worked = run_with_releases([2, 6], 8, give_up_at_ns=9)

    assert log == [("after 2", 7)]
    assert worked == [(0, 0, 5), (0, 5, 9)]
