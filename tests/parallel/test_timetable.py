"""Pipelines take the time that their papers say, and keep as many micro-batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.parallel.pipeline import Work
from simbench.parallel.pipelines.gpipe import GPipe
from simbench.parallel.pipelines.interleaved import Interleaved
from simbench.parallel.pipelines.one_forward_one_backward import OneForwardOneBackward
from simbench.parallel.timetable import timetable

SIZES = st.integers(2, 6), st.integers(1, 12), st.integers(1, 40), st.integers(1, 80)


def table_of(pipeline, forward_ns=10, backward_ns=20, **transfer):
    return timetable(
        [pipeline.order(stage) for stage in range(pipeline.stages)],
        pipeline.num_chunks,
        lambda work: forward_ns if work.is_forward else backward_ns,
        **transfer,
    )


@pytest.mark.parametrize("kind", [GPipe, OneForwardOneBackward])
@given(*SIZES)
def test_the_bubble_is_that_of_the_closed_form(kind, stages, microbatches, forward_ns, backward_ns):
    """Huang et al. 2019, section 2.3; Narayanan et al. 2021, section 2.2.1."""
    table = table_of(kind(stages=stages, microbatches=microbatches), forward_ns, backward_ns)

    rounds = microbatches + stages - 1
    assert table.end_ns == rounds * (forward_ns + backward_ns)
    assert table.bubble_share == pytest.approx((stages - 1) / rounds, abs=1e-12)


@given(st.integers(2, 6), st.integers(1, 4), st.integers(1, 4))
def test_interleaving_makes_the_bubble_as_much_smaller(stages, groups, chunks):
    """Narayanan et al. 2021, section 2.2.2: chunks are a v-th as long."""
    pipeline = Interleaved(stages=stages, microbatches=stages * groups, chunks=chunks)

    table = table_of(pipeline)

    passes = chunks * stages * groups
    assert table.end_ns == 30 * (passes + stages - 1)
    assert table.bubble_share == pytest.approx((stages - 1) / (passes + stages - 1), abs=1e-12)


@given(*SIZES[:2])
def test_what_stages_keep(stages, microbatches):
    gpipe = table_of(GPipe(stages=stages, microbatches=microbatches))
    one = table_of(OneForwardOneBackward(stages=stages, microbatches=microbatches))

    assert gpipe.most_in_flight == [microbatches] * stages
    assert one.most_in_flight == [min(microbatches, stages - s) for s in range(stages)]


def test_one_micro_batch_meets_every_transfer():
    table = table_of(GPipe(stages=4, microbatches=1), transfer_ns=5, latency_ns=2)

    assert table.end_ns == 4 * 30 + 6 * (5 + 2)


def test_transfers_go_one_behind_the_other_while_stages_go_on():
    """The last of m activations has waited for all others: that takes longer than computing."""
    table = table_of(GPipe(stages=2, microbatches=6), transfer_ns=100, latency_ns=7)

    last_there_ns = 10 + 6 * 100 + 7
    assert table.starts_ns[Work(True, 1, 5)] == last_there_ns
    # The first stage has done all six forward by then; all come back over the way back.
    assert table.ends_ns[Work(True, 0, 5)] == 60
    assert table.end_ns == last_there_ns + 10 + 20 + 6 * 100 + 7 + 20


def test_a_stage_that_is_slower_sets_the_pace():
    pipeline = OneForwardOneBackward(stages=3, microbatches=10)
    orders = [pipeline.order(stage) for stage in range(3)]

    table = timetable(orders, 3, lambda work: 30 if work.chunk == 1 else 10)

    # Once it has something, the slow one never waits; the first stage begins and ends alone.
    assert table.busy_ns == [200, 600, 200]
    assert table.end_ns == 10 + 600 + 10


def test_a_circle_is_our_own_mistake():
    with pytest.raises(AssertionError, match="circle"):
        timetable([[Work(False, 0, 0), Work(True, 0, 0)]], 1, lambda _: 1)
