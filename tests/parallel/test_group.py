"""A group's bytes, memory and times are those of the papers."""

import pytest

from simbench.parallel.group import Chunk, Group
from simbench.parallel.parallel import InnerLink, Parallel
from simbench.parallel.pipelines.gpipe import GPipe
from simbench.parallel.shardings.zero1 import Zero1
from simbench.parallel.shardings.zero2 import Zero2
from simbench.parallel.shardings.zero3 import Zero3

PSI = 6_400
"""Bytes of the parameters."""
MS = 10**6
# 1 byte a nanosecond.
LINK = InnerLink(bandwidth=8 * 10**9, latency=100)
ZEROS = [Zero1, Zero2, Zero3]


PLAIN = Chunk(1.0, 0, 40, PSI)


def group_of(batch_size=8, chunk=PLAIN, tied_bytes=0, **keys):
    parallel = Parallel(link=LINK, **keys)
    chunks = [chunk._replace(share=chunk.share / parallel.num_chunks)] * parallel.num_chunks
    return Group(parallel, chunks, batch_size, tied_bytes)


@pytest.mark.parametrize(("kind", "volume"), [(Zero1, 2), (Zero2, 2), (Zero3, 3)])
@pytest.mark.parametrize("devices", [2, 4, 8])
def test_zero_sends_two_or_three_times_the_parameters(kind, volume, devices):
    """Rajbhandari et al. 2020, section 7.2: 2 Psi and 3 Psi a device, but for its own share."""
    group = group_of(sharding=kind(devices=devices))

    assert group.traffic.state == volume * PSI * (devices - 1)
    # Each device sends its part of that, one share behind the other.
    sent_ns = volume * PSI * (devices - 1) // devices
    assert (
        group.step(8 * MS, 0.5).end_ns
        == 8 * MS // devices + sent_ns + volume * (devices - 1) * LINK.latency
    )


@pytest.mark.parametrize("devices", [4, 64])
def test_memory_is_that_of_the_table(devices):
    """Figure 1 there, for Adam in float32: 16 Psi, of which the state is 8 Psi (K = 8)."""
    alone = group_of(tensor=2, chunk=Chunk(1.0, 0, 0, PSI)).state_bytes(2)
    one, two, three = (
        group_of(64, sharding=kind(devices=devices)).state_bytes(2) for kind in ZEROS
    )

    assert alone == 4 * PSI
    assert one == 2 * PSI + 2 * PSI / devices
    assert two == PSI + 3 * PSI / devices
    assert three == 4 * PSI / devices


def test_what_is_shared_out_cant_wait_for_the_next_micro_batch():
    pipeline = GPipe(stages=2, microbatches=3)
    sent = [
        group_of(12, pipeline=pipeline, sharding=kind(devices=2)).traffic.state for kind in ZEROS
    ]

    # Of two stages each: once at the end; or with each backward pass, and each forward pass.
    assert sent == [2 * PSI * 2, 2 * PSI * (3 + 1), 2 * PSI * (3 + 6)]


@pytest.mark.parametrize("tensor", [2, 4])
def test_tensor_parallel_layers_all_reduce_four_times(tensor):
    """Shoeybi et al. 2019, section 3: twice forward and twice backward, of all activations."""
    layers, sample_bytes, batch = 3, 400, 8
    chunk = Chunk(1.0, 2 * layers, sample_bytes, PSI)

    group = group_of(batch, chunk, tensor=tensor)

    vector = batch * sample_bytes
    assert group.traffic.sums == 4 * layers * 2 * (tensor - 1) * vector
    ring_ns = 2 * (tensor - 1) * (LINK.latency + vector // tensor)
    assert group.step(8 * MS, 0.5).end_ns == 8 * MS + 4 * layers * ring_ns


@pytest.mark.parametrize("tensor", [2, 4])
def test_the_vocabulary_is_all_reduced_apart_from_layers(tensor):
    """Section 3 there: embeddings of all tokens, and of their scores a few numbers a token."""
    sample_bytes, number_bytes, batch = 400, 40, 8
    plain = Chunk(1.0, 4, sample_bytes, PSI)
    chunk = plain._replace(
        forward_vocabulary=(sample_bytes, *[number_bytes] * 3), backward_vocabulary=(sample_bytes,)
    )

    without, group = group_of(batch, plain, tensor=tensor), group_of(batch, chunk, tensor=tensor)

    vectors = [batch * size for size in (2 * sample_bytes, 3 * number_bytes)]
    assert group.traffic.sums == without.traffic.sums
    assert without.traffic.vocabulary == 0
    assert group.traffic.vocabulary == 2 * (tensor - 1) * sum(vectors)
    ring_ns = 2 * (tensor - 1) * (5 * LINK.latency + sum(vectors) // tensor)
    assert group.step(8 * MS, 0.5).end_ns - without.step(8 * MS, 0.5).end_ns == ring_ns


def test_stages_hand_activations_on_and_gradients_back():
    group = group_of(8, pipeline=GPipe(stages=4, microbatches=2), chunk=Chunk(1.0, 0, 50, PSI))

    assert group.traffic.activations == 2 * 8 * 50 * 3
    # One micro-batch has 4 samples: 200 bytes and as many ns for each of six transfers.
    step = group.step(8 * MS, 0.5)
    assert step.end_ns == 5 * (2 * MS // 2) + 6 * (200 + LINK.latency)


def test_tied_parameters_are_summed_up_between_the_first_and_the_last_stage():
    pipeline = GPipe(stages=4, microbatches=2)
    free, tied = (group_of(pipeline=pipeline, tied_bytes=size) for size in (0, 600))

    assert tied.traffic.sums - free.traffic.sums == 2 * 600
    waited_ns = tied.step(8 * MS, 0.5).end_ns - free.step(8 * MS, 0.5).end_ns
    assert waited_ns == 2 * (LINK.latency + 300)
