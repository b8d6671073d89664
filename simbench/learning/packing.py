"""Small whole numbers in as few bits as they need, and vectors in blocks."""

import torch
from torch import Tensor


def pack(codes: Tensor, bits: int) -> Tensor:
    """Return ``codes`` (n,), whole numbers of ``bits`` bits, as ceil(n * bits / 8) bytes, uint8.

    >>> pack(torch.tensor([1, 2, 15]), bits=4).tolist()
    [33, 15]
    """
    places = torch.arange(bits, dtype=codes.dtype, device=codes.device)
    flat = (codes[:, None] >> places & 1).to(torch.uint8).flatten()
    flat = torch.nn.functional.pad(flat, (0, -len(flat) % 8))
    # A byte's eight bits have sums below 256.
    return (flat.view(-1, 8) << _eight(flat)).sum(1, dtype=torch.uint8)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """Return the ``count`` numbers, int32, that ``pack`` made ``packed`` of."""
    flat = (packed[:, None] >> _eight(packed) & 1).flatten()[: count * bits]
    places = torch.arange(bits, dtype=torch.int32, device=packed.device)
    return (flat.view(count, bits).to(torch.int32) << places).sum(1, dtype=torch.int32)


def packed_bytes(count: int, bits: int) -> int:
    """Return the bytes of ``count`` packed numbers."""
    return -(-count * bits // 8)


def num_blocks(length: int, block_size: int | None) -> int:
    """Return how many blocks a vector has; it is one if there is no ``block_size``."""
    return 1 if block_size is None else -(-length // block_size)


def in_blocks(vector: Tensor, block_size: int | None) -> Tensor:
    """Return ``vector`` (n,) as rows of a block each; the last is filled up with zeros."""
    size = len(vector) if block_size is None else block_size
    return torch.nn.functional.pad(vector, (0, -len(vector) % size)).view(-1, size)


def to_entries(of_blocks: Tensor, block_size: int | None, length: int) -> Tensor:
    """Return for each of ``length`` entries what its block has in ``of_blocks``."""
    return of_blocks.repeat_interleave(block_size or length)[:length]


def _eight(like: Tensor) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=like.device)
