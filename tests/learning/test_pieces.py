"""Pieces of a vector: which entries, how many bytes, and what comes of adding them up."""

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Graph
from simbench.learning.operations import Cut, Mix, Paste
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.training import Training


class Given:
    """Vector ``index`` of a list."""

    name = identity = "given"
    effort = "medium"

    def __init__(self, vectors):
        self.vectors = vectors

    def __call__(self, index):
        return self.vectors[index]


@pytest.fixture(scope="module")
def training(tasks, bench_for):
    return lambda: Training(Graph(), bench_for(tasks["quadratic"]), SGD())


def leaves(training, vectors):
    return [
        training.apply(Given(vectors), (), (index,), None, index, num_entries=len(vector))
        for index, vector in enumerate(vectors)
    ]


def randoms(count, length):
    return list(torch.randn(count, length, generator=torch.Generator().manual_seed(length)))


def computed(*recipes):
    pool = ThreadExecutor(1)
    results = [pool.start(recipe).result() for recipe in recipes]
    pool.close()
    return results


def test_a_piece_is_a_copy_that_does_not_keep_the_whole_alive():
    vector = torch.arange(1000.0)

    piece = Cut()(vector, 10, 13)

    assert piece.tolist() == [10, 11, 12]
    assert piece.untyped_storage().nbytes() == 12
    whole = weakref.ref(vector.untyped_storage())
    del vector
    gc.collect()
    assert whole() is None


def test_pasting_puts_pieces_one_behind_the_other():
    x = torch.arange(7.0)

    assert torch.equal(Paste()(x[:2], x[2:3], x[3:]), x)


@pytest.mark.parametrize(
    ("piece_bytes", "sizes_bytes"),
    [
        (1, [4] * 10),  # no entry fits: one it is
        (5, [4] * 10),  # a whole one fits, and no more
        (12, [4, 12, 12, 12]),  # what is left over stands first: it comes out last
        (20, [20, 20]),
        (39, [4, 36]),
        (40, [40]),
        (10**18, [40]),
    ],
)
def test_pieces_have_as_many_whole_entries_as_fit(training, piece_bytes, sizes_bytes):
    made = training()
    (x,) = leaves(made, randoms(1, 10))

    pieces = made.cut(x, piece_bytes, home=3)

    assert [piece.num_bytes for piece in pieces] == sizes_bytes
    assert torch.equal(torch.cat(computed(*pieces)), *computed(x))
    assert all(piece.home == 3 for piece in pieces if piece is not x)


def test_a_vector_that_fits_is_its_own_piece(training):
    made = training()
    (x,) = leaves(made, randoms(1, 10))

    assert made.cut(x, 40, 0) == [x]
    assert made.paste([x], 0) is x


def test_all_pieces_of_a_vector_in_their_order_are_the_vector(training):
    made = training()
    x, y = leaves(made, randoms(2, 10))
    of_x, of_y = made.cut(x, 12, 0), made.cut(y, 12, 0)

    assert made.paste(of_x, 0) is x
    for others in (of_x[::-1], of_x[1:], of_x[:-1], [*of_x, of_x[0]], [*of_x[:-1], of_y[-1]]):
        pasted = made.paste(others, 0)
        assert pasted.operation.name == "paste"
        assert pasted.num_bytes == sum(piece.num_bytes for piece in others)
        assert torch.equal(*computed(pasted), torch.cat(computed(*others)))


@given(st.integers(1, 9), st.integers(1, 300), st.integers(1, 1300), st.sampled_from([None, "sum"]))
def test_a_mean_piece_by_piece_is_that_of_the_wholes_key_and_bits(
    training, count, length, piece_bytes, weights
):
    made = training()
    xs = leaves(made, randoms(count, length))
    weights = weights and [1.0] * count
    whole = made.mix(xs, weights, 0)

    pieces = [
        made.mix(list(alike), weights, 0)
        for alike in zip(*(made.cut(x, piece_bytes, 0) for x in xs), strict=True)
    ]

    assert made.paste(pieces, 5) is whole
    assert sum(piece.num_bytes for piece in pieces) == whole.num_bytes
    # What the pieces themselves give, added up one by one, has the same bits.
    *parts, expected = computed(*pieces, whole)
    assert torch.equal(torch.cat(parts), expected)


def test_the_key_does_not_depend_on_whether_pieces_have_been_computed(training):
    made = training()
    xs = leaves(made, randoms(3, 10))
    means = [
        made.mix(list(alike), None, 0)
        for alike in zip(*(made.cut(x, 16, 0) for x in xs), strict=True)
    ]

    computed(*means)

    assert all(mean.inputs == () for mean in means)
    assert made.paste(means, 0) is made.mix(xs, None, 0)


def test_sums_of_sums_are_told_as_well(training):
    made = training()
    x, y, z = leaves(made, randoms(3, 10))
    cuts = [made.cut(each, 16, 0) for each in (x, y, z)]

    pieces = [
        made.mix([made.mix([a, b], (1.0, 1.0), 0), c], None, 0)
        for a, b, c in zip(*cuts, strict=True)
    ]

    assert made.paste(pieces, 0) is made.mix([made.mix([x, y], (1.0, 1.0), 0), z], None, 0)


def test_where_rounding_depends_on_the_place_pieces_stay_pieces(training):
    """x + w * y is rounded once by vector instructions and twice behind the last full vector."""
    made = training()
    xs = leaves(made, randoms(2, 10))
    weights = (0.3, 0.7)

    pieces = [
        made.mix(list(alike), weights, 0)
        for alike in zip(*(made.cut(x, 16, 0) for x in xs), strict=True)
    ]

    assert made.paste(pieces, 0).operation.name == "paste"


def test_what_mixes_different_pieces_is_a_piece_of_nothing(training):
    made = training()
    x, y = leaves(made, randoms(2, 8))
    of_x, of_y = made.cut(x, 16, 0), made.cut(y, 16, 0)

    crossed = [made.mix([a, b], None, 0) for a, b in zip(of_x, of_y[::-1], strict=True)]

    assert made.paste(crossed, 0).operation.name == "paste"


def test_vectors_of_unequal_lengths_are_not_mixed(training):
    made = training()
    x, y = leaves(made, [torch.zeros(3), torch.zeros(4)])

    with pytest.raises(AssertionError, match="unequal lengths"):
        made.mix([x, y], None, 0)


def test_sums_of_pieces_have_the_bytes_of_a_piece(training):
    made = training()
    xs = leaves(made, randoms(3, 10))
    pieces = [made.cut(x, 12, 0)[1] for x in xs]

    for weights in (None, (1.0, 2.0, 3.0)):
        assert made.mix(pieces, weights, 0).num_bytes == 12
    assert made.mix(pieces[:2], (0.5, 0.5), 0).num_bytes == 12
    assert isinstance(made.mix(pieces, None, 0).operation, Mix)


def test_no_piece_outlives_its_readers(training):
    made = training()
    xs = leaves(made, randoms(2, 10))
    pieces = [
        made.mix(list(alike), None, 0)
        for alike in zip(*(made.cut(x, 16, 0) for x in xs), strict=True)
    ]
    mean = made.paste(pieces, 0)
    told = [weakref.ref(each) for each in [*pieces, *xs]]
    computed(mean)

    del pieces, xs
    gc.collect()

    assert [each() for each in told] == [None] * len(told)


def test_a_step_on_pieces_is_the_step_on_the_whole(training):
    """Whatever remembers whole and pieces: its key, and so its bits."""
    training = training()
    parameters, state = training.initial(0)
    pieces = training.split(parameters, 3, 0)
    states = [training.fresh_state(0)] * 3
    for step in range(3):
        gradient = training.gradient(parameters, 0, step)
        slopes = training.split(gradient, 3, 0)
        both = [
            training.step(piece, kept, slope, 0)
            for piece, kept, slope in zip(pieces, states, slopes, strict=True)
        ]
        pieces, states = map(list, zip(*both, strict=True))
        parameters, state = training.step(parameters, state, gradient, 0)
        assert training.paste(pieces, 0) is parameters
        assert {training.source(kept) for kept in states} == {state}


def test_a_piece_of_something_else_is_stepped_by_itself(training):
    """The state of a piece goes on where the gradient isn't a piece: the numbers stay right."""
    training = training()
    parameters, _ = training.initial(0)
    piece, _ = training.split(parameters, 2, 0)
    optimizer = SGD(learning_rate=0.5, momentum=0.5)
    slope, _ = training.split(training.gradient(parameters, 0, 0), 2, 0)
    stepped, state = training.step(piece, training.fresh_state(0), slope, 0, optimizer)
    strange = training.mix([slope, slope], (1.0, 0.5), 0)
    stepped_again, _ = training.step(stepped, state, strange, 0, optimizer)
    assert training.source(stepped_again) is stepped_again

    x, g, result = computed(piece, slope, stepped_again)
    expected = x - 0.5 * g - 0.5 * (0.5 * g + 1.5 * g)
    torch.testing.assert_close(result, expected)


def test_pieces_are_as_equal_as_can_be(training):
    training = training()
    vector, _ = training.initial(0)
    assert training.split(vector, 1, 0) == [vector]
    length = vector.num_bytes // 4
    for num_pieces in (2, 3, length, length + 2):
        entries = [piece.num_bytes // 4 for piece in training.split(vector, num_pieces, 0)]
        assert len(entries) == num_pieces
        assert sum(entries) == length
        assert max(entries) - min(entries) <= 1
