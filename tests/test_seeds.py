"""Every draw is named by (seed, purpose, rank, step), and by nothing else."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simbench.seeds import generator

NAMES = st.tuples(
    st.integers(0, 2**70), st.text(max_size=9), st.integers(0, 99), st.integers(0, 10**9)
)


def draw(name):
    return tuple(generator(*name).integers(0, 2**60, size=4).tolist())


@given(NAMES)
def test_the_same_name_draws_the_same(name):
    assert draw(name) == draw(name)


def test_a_draw_is_that_of_philox_with_the_hash_of_its_name_as_key():
    key = int.from_bytes(hashlib.blake2b(b"7/jitter/2/9", digest_size=16).digest(), "little")
    plain = np.random.Generator(np.random.Philox(key=key))

    assert np.array_equal(generator(7, "jitter", 2, 9).standard_normal(9), plain.standard_normal(9))


@given(NAMES, st.sampled_from([0, 2, 3]), st.integers(1, 1000))
def test_a_draw_depends_on_seed_rank_and_step(name, position, more):
    other = [*name]
    other[position] += more

    assert draw(name) != draw(other)


@given(NAMES, st.text(min_size=1, max_size=3))
def test_a_draw_depends_on_the_purpose(name, more):
    seed, purpose, rank, step = name

    assert draw(name) != draw((seed, purpose + more, rank, step))


def test_rank_and_step_do_not_run_into_each_other():
    names = [(seed, "p", rank, step) for seed in (1, 11) for rank in (1, 11) for step in (1, 11)]

    assert len({draw(name) for name in names}) == len(names)


def test_draws_do_not_depend_on_the_order_of_asking():
    first, second = (0, "batch", 0, 0), (0, "batch", 1, 0)

    forwards = [draw(first), draw(second)]
    backwards = [draw(second), draw(first)]

    assert forwards == backwards[::-1]


def test_the_stream_itself_is_frozen():
    """Golden: results of earlier runs rest on these numbers."""
    assert generator(0, "batch", 1, 2).integers(0, 1000, 4).tolist() == [671, 471, 726, 194]
