"""Buckets come out along the backward pass, in proportion to their bytes."""

from hypothesis import given
from hypothesis import strategies as st

from simbench.cluster.backward import out_ns

SIZES = st.lists(st.integers(1, 10**9), min_size=1, max_size=9)


def test_bucket_k_of_equal_ones_is_out_after_forward_and_k_parts_of_backward():
    assert out_ns(900, 2 / 3, [7] * 4) == [450, 600, 750, 900]


def test_without_a_share_all_comes_out_at_the_end():
    assert out_ns(900, 0, [7] * 3) == [900, 900, 900]


def test_a_bucket_that_is_whole_within_a_nanosecond_is_out_at_its_end():
    assert out_ns(10, 1, [1, 1, 1]) == [4, 7, 10]


@given(st.integers(1, 10**15), st.floats(0, 1), SIZES)
def test_buckets_come_out_in_turn_the_last_at_the_end(duration_ns, share, sizes_bytes):
    times_ns = out_ns(duration_ns, share, sizes_bytes)

    assert times_ns == sorted(times_ns)
    assert times_ns[-1] == duration_ns
    assert times_ns[0] >= duration_ns - round(duration_ns * share)
