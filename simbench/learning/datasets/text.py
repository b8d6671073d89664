"""English text, byte by byte: CPython's own documentation, or a file of the user's."""

import functools
import hashlib
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import PositiveInt

from simbench.learning.dataset import Dataset
from simbench.learning.model import Batch
from simbench.spec import InputFile

BLOCK_BYTES = 4096
"""Every tenth block of the text is held out; blocks of a short text are a twentieth of it."""
PART_SAMPLES = 16
"""Held-out windows that are evaluated in one operation."""


class Text(Dataset):
    """Windows of a text. Each node's shard is a contiguous piece of what isn't held out."""

    kind: Literal["text"] = "text"
    path: InputFile | None = None
    """A UTF-8 file; by default the topics of CPython's ``help()``, which every Python brings."""
    validation_samples: PositiveInt = 128
    """Held-out windows, spread evenly; a multiple of 16 wastes nothing."""

    yields: ClassVar[str] = "tokens"

    @property
    def content(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(_text(self.path)).hexdigest()

    def batch(
        self, draw: np.random.Generator, rank: int, num_shards: int, size: int, length: int
    ) -> Batch:
        """Return (size, length) tokens and, as targets, the tokens that follow each."""
        training, _ = _split(self.path)
        first, end = self._shard(rank, num_shards)
        if end - first <= length:
            raise ValueError(
                f"{len(training)} bytes of text are too few for {num_shards} shards of windows "
                f"of {length} bytes"
            )
        return _windows(training, draw.integers(first, end - length, size), length)

    def shard_samples(self, rank: int, num_shards: int) -> int:
        """Return the bytes of the node's own piece: a window may begin at nearly each of them."""
        first, end = self._shard(rank, num_shards)
        return end - first

    def _shard(self, rank: int, num_shards: int) -> tuple[int, int]:
        count = len(_split(self.path)[0])
        return count * rank // num_shards, count * (rank + 1) // num_shards

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return evenly spaced windows of the held-out text, ``PART_SAMPLES`` in a part."""
        _, held_out = _split(self.path)
        if len(held_out) <= length:
            raise ValueError(f"{len(held_out)} held-out bytes are too few for windows of {length}")
        starts = np.linspace(0, len(held_out) - length - 1, self.validation_samples).astype(int)
        return tuple(
            _windows(held_out, starts[i : i + PART_SAMPLES], length)
            for i in range(0, len(starts), PART_SAMPLES)
        )


@functools.cache
def _text(path: str | None) -> bytes:
    if path is not None:
        return Path(path).read_bytes()
    from pydoc_data.topics import topics  # noqa: PLC0415 - 0.7 MB that other data don't need

    return "\n\n".join(topics[name] for name in sorted(topics)).encode()


@functools.cache
def _split(path: str | None) -> tuple[np.ndarray, np.ndarray]:
    text = np.frombuffer(_text(path), dtype=np.uint8)
    block_bytes = max(1, min(BLOCK_BYTES, len(text) // 20))
    held_out = np.arange(len(text)) // block_bytes % 10 == 9
    return text[~held_out], text[held_out]


def _windows(text: np.ndarray, starts: np.ndarray, length: int) -> Batch:
    tokens = torch.from_numpy(text[starts[:, None] + np.arange(length + 1)].astype(np.int64))
    return tokens[:, :-1], tokens[:, 1:]
