"""Wires carry results bit for bit, and take nothing from strangers."""

import queue
import socket

import pytest
import torch

from simbench.execution.wire import Wires


@pytest.fixture
def pair():
    """Two ends that know each other; what arrives at the second is in the queue."""
    arrived = queue.Queue()
    first, second = (Wires("127.0.0.1", each) for each in (lambda _: None, arrived.put))
    for each in (first, second):
        each.connect([first.address, second.address], b"word" * 8)
    yield first, second, arrived
    for each in (first, second):
        each.close()


@pytest.mark.parametrize(
    "vector",
    [
        torch.randn(1_000_003),
        torch.randn(3, dtype=torch.float64),
        torch.randn(5).to(torch.bfloat16),
        torch.empty(0),
        torch.tensor(7),
    ],
)
def test_tensors_arrive_bit_for_bit_and_can_be_written_to(pair, vector):
    first, _, arrived = pair

    first.send(1, (4, {"moment": vector, "part": [(0.5, 3)]}))
    number, state = arrived.get(timeout=10)

    assert (number, state["part"]) == (4, [(0.5, 3)])
    assert state["moment"].dtype == vector.dtype
    assert torch.equal(state["moment"], vector)
    state["moment"].add_(1)


def test_messages_arrive_in_order(pair):
    first, _, arrived = pair

    for number in range(100):
        first.send(1, number)

    assert [arrived.get(timeout=10) for _ in range(100)] == list(range(100))


def test_who_does_not_know_the_word_is_not_heard(pair):
    first, second, arrived = pair
    with socket.create_connection(second.address) as stranger:
        stranger.sendall(b"dorw" * 8)

        assert stranger.recv(1) == b""  # it hung up
    first.send(1, "known")
    assert arrived.get(timeout=10) == "known"
    assert arrived.empty()


def test_sending_to_one_that_has_ended_is_an_error(pair):
    first, second, arrived = pair
    first.send(1, "hello")
    assert arrived.get(timeout=10) == "hello"
    second.close()

    def send_much():
        for _ in range(100):
            first.send(1, torch.zeros(1_000_000))

    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        send_much()
