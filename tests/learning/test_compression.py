"""Compressions as operations: published sizes, bounds that theory gives, identities."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench.learning.compression.bf16 import BF16
from simbench.learning.compression.demo import DeMo
from simbench.learning.compression.fp4 import FP4
from simbench.learning.compression.fp16 import FP16
from simbench.learning.compression.int8 import Int8
from simbench.learning.compression.powersgd import PowerSGD
from simbench.learning.compression.qsgd import QSGD
from simbench.learning.compression.random_k import RandomK
from simbench.learning.compression.signsgd import SignSGD
from simbench.learning.compression.threshold import Threshold
from simbench.learning.compression.top_k import TopK
from simbench.learning.compressor import Layout, Turn, payload_bytes
from simbench.learning.packing import pack, packed_bytes, unpack

MIB = 2**20


def layout_of(*shapes, dtype=torch.float64):
    return Layout(shapes, dtype, seed=3)


def normal(layout, seed=0):
    drawn = np.random.default_rng(seed).standard_normal(layout.length)
    return torch.from_numpy(drawn).to(layout.dtype)


def there_and_back(compression, vector, layout, turn=None):
    return compression.decode(compression.encode(vector, layout, turn or Turn()), layout)


# Scales are float32, which ends below 1e-38.
FLOATS = st.floats(-1e6, 1e6).map(lambda x: x if abs(x) > 1e-30 else 0.0)


@st.composite
def vectors(draw, entries=FLOATS):
    return torch.tensor(draw(st.lists(entries, min_size=1, max_size=40)), dtype=torch.float64)


# -- bits


@given(st.integers(1, 16), st.data())
def test_numbers_are_packed_without_a_bit_too_many_and_come_back(bits, data):
    numbers = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=50))

    packed = pack(torch.tensor(numbers, dtype=torch.int32), bits)

    assert packed.dtype == torch.uint8
    assert packed.nbytes == packed_bytes(len(numbers), bits) == math.ceil(len(numbers) * bits / 8)
    assert unpack(packed, bits, len(numbers)).tolist() == numbers
    # Bit i of all together is bit i % 8 of byte i // 8.
    whole = sum(number << bits * i for i, number in enumerate(numbers))
    assert int.from_bytes(packed.numpy().tobytes(), "little") == whole


@pytest.mark.parametrize(
    ("compression", "num_bytes"),
    [
        (FP16(), 2000),
        (BF16(), 2000),
        (Int8(), 1000 + 4),
        (Int8(block_size=300), 1000 + 4 * 4),
        (FP4(block_size=None), 500 + 4),
        (FP4(), 500 + 4 * 4),
        (QSGD(block_size=None), 1000 + 4),
        (QSGD(levels=7, block_size=None), 500 + 4),
        (QSGD(levels=1, block_size=250), 250 + 4 * 4),
        (QSGD(levels=2), 375 + 4 * 2),
        (SignSGD(), 125 + 4),
        (SignSGD(variant="plain", error_feedback=False), 125),
        (TopK(share=0.1), 100 * (4 + 4)),
        (TopK(share=0.0001), 4 + 4),
        (RandomK(share=0.1), 100 * 4),
        (PowerSGD(rank=2), 2 * (30 + 20) * 4 + 400 * 4),
        # 30 x 20 in 3 x 2 chunks of 10 x 10, and 400 in 40 of 10.
        (DeMo(chunk_size=10, k=5), (6 + 40) * 5 * (4 + 2)),
    ],
    ids=str,
)
def test_the_size_of_a_payload(compression, num_bytes):
    layout = layout_of((30, 20), (400,), dtype=torch.float32)

    assert compression.payload_bytes(layout) == num_bytes
    assert payload_bytes(compression.encode(normal(layout), layout, Turn())) == num_bytes


@given(vectors(), st.floats(0, 1e6))
def test_the_size_of_what_exceeds_a_threshold(vector, threshold):
    layout, compression = layout_of((len(vector),)), Threshold(threshold=threshold)

    payload = compression.encode(vector, layout, Turn())

    above = sum(abs(each) > threshold for each in vector.tolist())
    assert payload_bytes(payload) == compression.count_bytes(vector, layout) == 12 * above
    assert compression.payload_bytes(layout) is None
    left = vector - compression.decode(payload, layout)
    assert left.abs().max() <= threshold


# -- nothing is lost that needn't be


@given(vectors(), st.sampled_from([TopK(share=1), RandomK(share=1), Threshold(threshold=0)]))
def test_what_is_sent_whole_arrives_whole(vector, compression):
    layout = layout_of((len(vector),))

    assert torch.equal(there_and_back(compression, vector, layout), vector)


@given(vectors(st.integers(-126, 126).map(float)), st.integers(-8, 8))
def test_what_eight_bits_can_tell_arrives_whole(vector, exponent):
    vector = torch.cat([vector, torch.tensor([127.0])]).to(vector) * 2.0**exponent
    layout = layout_of((len(vector),))

    for compression in (Int8(), FP16(), BF16()):
        assert torch.equal(there_and_back(compression, vector, layout), vector)


@given(st.lists(st.sampled_from([0, *range(1, 8)]), max_size=40), st.data())
def test_what_four_bits_can_tell_arrives_whole(exponents, data):
    sizes = [0.0 if e == 0 else 2.0**e for e in [*exponents, 7]]
    signs = [data.draw(st.sampled_from([-1, 1])) for _ in sizes]
    vector = torch.tensor([s * x for s, x in zip(signs, sizes, strict=True)], dtype=torch.float64)
    layout = layout_of((len(vector),))

    assert torch.equal(there_and_back(FP4(block_size=None), vector, layout), vector)


@given(vectors(), st.sampled_from([None, 1, 7]))
def test_rounding_goes_to_the_nearest(vector, block_size):
    layout = layout_of((len(vector),))
    largest = torch.cat([b.abs().max().expand(len(b)) for b in vector.split(block_size or 99)])

    to_byte = there_and_back(Int8(block_size=block_size), vector, layout)
    to_half_a_byte = there_and_back(FP4(block_size=block_size), vector, layout)

    slack = 1e-6 * largest
    assert ((to_byte - vector).abs() <= largest / 254 + slack).all()
    grid = torch.tensor([0.0, *(2.0**-k for k in range(7))], dtype=vector.dtype)
    nearest = (vector.abs()[:, None] - largest[:, None] * grid).abs().amin(1)
    assert ((to_half_a_byte - vector).abs() <= nearest + slack).all()


def test_half_precision_saturates_instead_of_becoming_infinite():
    vector = torch.tensor([1e6, -1e6, 1.0])

    decoded = there_and_back(FP16(), vector, layout_of((3,), dtype=torch.float32))

    assert decoded.tolist() == [65504.0, -65504.0, 1.0]


# -- sparse


@given(vectors(), st.floats(0.01, 1))
def test_top_k_leaves_out_at_most_the_share_that_it_does_not_send(vector, share):
    layout, compression = layout_of((len(vector),)), TopK(share=share)

    left = vector - there_and_back(compression, vector, layout)

    k, d = math.ceil(share * len(vector)), len(vector)
    assert int((left == 0).sum()) >= k
    assert left @ left <= (1 - k / d) * (vector @ vector) * (1 + 1e-12)


def test_random_k_sends_the_same_places_of_everybody_and_others_in_the_next_step():
    layout, compression = layout_of((50,)), RandomK(share=0.1)
    ones = torch.ones(50, dtype=torch.float64)

    def places(rank, step):
        sent = there_and_back(compression, ones, layout, Turn(rank, step))
        return tuple(sent.nonzero().flatten().tolist())

    assert len(places(0, 0)) == 5
    assert places(0, 0) == places(1, 0)
    assert len({places(0, step) for step in range(9)}) > 1


def test_random_k_without_memory_is_right_on_average():
    layout, compression = layout_of((8,)), RandomK(share=0.25, error_feedback=False)
    vector = torch.arange(1.0, 9.0, dtype=torch.float64)

    decoded = torch.stack(
        [there_and_back(compression, vector, layout, Turn(0, step)) for step in range(4000)]
    )

    error = 4 * decoded.std(0) / len(decoded) ** 0.5
    assert ((decoded.mean(0) - vector).abs() <= error).all()
    assert set(decoded[:, 0].tolist()) == {0.0, 4.0}


# -- levels drawn at random


@pytest.mark.parametrize(("n", "levels"), [(100, 1), (100, 4), (30, 20)])
def test_qsgd_is_right_on_average_and_its_variance_is_bounded(n, levels):
    """Lemma 3.1: E|Q - v|^2 <= min(n/s^2, sqrt(n)/s) |v|^2."""
    layout, compression = layout_of((n,)), QSGD(levels=levels, block_size=None)
    vector = normal(layout)

    decoded = torch.stack(
        [there_and_back(compression, vector, layout, Turn(1, step)) for step in range(3000)]
    )

    error = 4 * decoded.std(0) / len(decoded) ** 0.5 + 1e-7
    assert ((decoded.mean(0) - vector).abs() <= torch.maximum(error, 0.01 * vector.abs())).all()
    variance = ((decoded - vector) ** 2).sum(1).mean()
    assert variance <= min(n / levels**2, math.sqrt(n) / levels) * (vector @ vector)
    # What is drawn can be told: l is one of two neighbours, so the variance is that of a coin.
    height = vector.abs() / vector.norm() * levels
    share = height - height.floor()
    exact = (share * (1 - share)).sum() * (vector.norm() / levels) ** 2
    assert variance == pytest.approx(float(exact), rel=0.05)


@given(vectors(), st.integers(1, 300), st.sampled_from([None, 5]))
def test_qsgd_draws_one_of_two_neighbours(vector, levels, block_size):
    layout, compression = layout_of((len(vector),)), QSGD(levels=levels, block_size=block_size)

    decoded = there_and_back(compression, vector, layout)

    norm = torch.cat([b.norm().expand(len(b)) for b in vector.split(block_size or 99)])
    assert ((decoded - vector).abs() <= norm / levels * (1 + 1e-6)).all()


def test_who_draws_draws_for_itself_and_anew_and_the_same_again():
    layout = layout_of((64,))
    vector = normal(layout)

    def drawn(rank, step):
        return tuple(there_and_back(QSGD(levels=1), vector, layout, Turn(rank, step)).tolist())

    assert drawn(0, 0) == drawn(0, 0)
    assert len({drawn(rank, step) for rank in range(3) for step in range(3)}) == 9


# -- signs


@given(vectors())
def test_scaled_signs_have_the_mean_size(vector):
    layout = layout_of((len(vector),))

    decoded = there_and_back(SignSGD(), vector, layout)

    mean = float(vector.abs().mean())
    assert decoded.tolist() == pytest.approx([mean if x >= 0 else -mean for x in vector], rel=1e-6)


@pytest.mark.parametrize("variant", ["plain", "majority_vote"])
def test_signs_without_a_scale_have_nothing_to_feed_back(variant):
    with pytest.raises(ValidationError) as caught:
        SignSGD(variant=variant)
    assert caught.value.errors()[0]["loc"] == ("error_feedback",)
    assert caught.value.errors()[0]["msg"] == (
        f"expected false with variant {variant}: signs without a scale leave nothing that could "
        "be told"
    )


# -- low rank


def resnet18_on_cifar():
    """ResNet-18 for 32 x 32 images: a 3 x 3 stem, four stages of two blocks, 10 classes."""
    shapes = [(64, 3, 3, 3)]
    norms = [64]
    inner = 64
    for width in (64, 128, 256, 512):
        for block in range(2):
            shapes += [(width, inner, 3, 3), (width, width, 3, 3)]
            norms += [width, width]
            if block == 0 and width != inner:
                shapes.append((width, inner, 1, 1))
                norms.append(width)
            inner = width
    vectors = [(size,) for size in norms for _ in ("weight", "bias")]
    return [*shapes, *vectors, (10, 512), (10,)]


def test_powersgd_bytes_per_epoch_of_resnet18_on_cifar():
    """Vogels et al. 2019, table 3: 1023 MB uncompressed, and 8 MB at rank 2; 24 steps an epoch."""
    layout = layout_of(*resnet18_on_cifar(), dtype=torch.float32)
    assert layout.length == 11_173_962
    assert sum(math.prod(shape) for shape in layout.shapes if len(shape) == 1) == 9610
    uncompressed = 24 * layout.vector_bytes / MIB
    compressed = 24 * PowerSGD(rank=2).payload_bytes(layout) / MIB

    assert uncompressed == pytest.approx(1023.0, abs=0.05)
    assert compressed == pytest.approx(7.53, abs=0.005)
    assert uncompressed / compressed == pytest.approx(135.84, abs=0.005)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_powersgd_sends_a_matrix_of_its_rank_exactly_in_one_step(rank, dtype, tolerance):
    layout = layout_of((20, 3, 2, 2), (7,), dtype=dtype)
    left, right = normal(layout_of((20, rank), dtype=dtype)), normal(layout_of((rank, 12)), 1)
    matrix = left.view(20, rank) @ right.view(rank, 12).to(dtype)
    vector = torch.cat([matrix.flatten(), torch.arange(7.0).to(dtype)])

    decoded = there_and_back(PowerSGD(rank=rank), vector, layout)

    assert (decoded - vector).abs().max() <= tolerance * matrix.abs().max()
    assert torch.equal(decoded[-7:], vector[-7:])
    if rank > 1:
        less = there_and_back(PowerSGD(rank=rank - 1), vector, layout)
        assert (less - vector).norm() > 0.01 * vector.norm()


def test_powersgd_with_a_warm_start_comes_to_the_best_approximation():
    """Power iteration: the same matrix again and again, to what its singular values leave."""
    layout = layout_of((15, 10))
    vector = normal(layout)
    compression, turn = PowerSGD(rank=2), Turn()
    errors = []
    for _ in range(60):
        payload = compression.encode(vector, layout, turn)
        errors.append(float((vector - compression.decode(payload, layout)).norm()))
        turn = Turn(before=payload[-1])

    values = torch.linalg.svdvals(vector.view(15, 10))
    best = float(values[2:].norm())
    assert errors[0] > 1.02 * best
    assert errors[-1] == pytest.approx(best, rel=1e-3)
    cold = PowerSGD(rank=2, warm_start=False)
    drawn = [there_and_back(cold, vector, layout, Turn(0, step)) for step in range(2)]
    assert not torch.equal(*drawn)


def test_powersgd_starts_again_after_a_gradient_of_zero():
    layout = layout_of((6, 5))
    compression = PowerSGD(rank=2)
    nothing = compression.encode(torch.zeros(30, dtype=torch.float64), layout, Turn())

    decoded = there_and_back(compression, normal(layout), layout, Turn(before=nothing[-1]))

    assert decoded.norm() > 0.3 * normal(layout).norm()


# -- cosines


def test_demo_sends_one_component_of_what_is_constant():
    layout = layout_of((12, 8), (16,))
    vector = torch.cat([torch.full((96,), 3.0), torch.full((16,), -2.0)]).to(torch.float64)

    decoded = there_and_back(DeMo(chunk_size=4, k=1), vector, layout)

    torch.testing.assert_close(decoded, vector, rtol=0, atol=1e-12)


def test_demo_finds_the_cosines_of_the_dct_ii():
    """Component (u, v) of a chunk is cos(pi (i + 1/2) u / n) cos(pi (j + 1/2) v / m)."""
    layout = layout_of((8, 6))
    i, j = torch.arange(8.0).double(), torch.arange(6.0).double()
    wave = torch.outer(
        torch.cos(math.pi * (i + 0.5) * 3 / 8), torch.cos(math.pi * (j + 0.5) * 2 / 6)
    )

    components, places = DeMo(k=1).encode(wave.flatten(), layout, Turn())

    assert places.tolist() == [3 * 6 + 2]
    assert float(components) == pytest.approx(float(wave.norm()), rel=1e-12)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 90))
@settings(max_examples=50)
def test_demo_is_orthonormal_so_what_is_left_is_what_was_not_sent(rows, columns, chunk, k):
    layout, compression = layout_of((rows, columns), (columns,)), DeMo(chunk_size=chunk, k=k)
    vector = normal(layout)

    payload = compression.encode(vector, layout, Turn())
    left = vector - compression.decode(payload, layout)

    sent = float((payload[0] ** 2).sum())
    assert float(left @ left) == pytest.approx(float(vector @ vector) - sent, abs=1e-11)
    if k >= chunk * chunk:
        assert left.abs().max() < 1e-12


# -- error feedback


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.floats(0.05, 1))
@settings(max_examples=40)
def test_all_that_was_sent_and_the_residual_are_all_that_was_given(seeds, share):
    layout = layout_of((4, 5), (6,))
    for compression in (TopK(share=share), SignSGD(), PowerSGD(rank=1), RandomK(share=share),
                        Threshold(threshold=share), FP4(error_feedback=True)):  # fmt: skip
        residual = torch.zeros(26, dtype=torch.float64)
        sent, given_in_all, turn = residual.clone(), residual.clone(), Turn()
        for step, seed in enumerate(seeds):
            vector = normal(layout, seed)
            given_in_all += vector
            payload = compression.encode(vector + residual, layout, turn)
            decoded = compression.decode(payload, layout)
            residual = vector + residual - decoded
            sent += decoded
            turn = Turn(0, step + 1, payload[-1] if compression.remembers else None)
            torch.testing.assert_close(sent + residual, given_in_all, rtol=0, atol=1e-12)
