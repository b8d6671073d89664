"""English text, byte by byte: CPython's own documentation, or a file of the user's."""

import functools
import hashlib
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import PositiveInt

from simbench.learning.dataset import Samples
from simbench.learning.model import Batch
from simbench.learning.shards.contiguous import Contiguous
from simbench.spec import InputFile

BLOCK_BYTES = 4096
"""Every tenth block of the text is held out; blocks of a short text are a twentieth of it."""
PART_SAMPLES = 16
"""Held-out windows that are evaluated in one operation."""


class Text(Samples):
    """Windows of a text: sample i begins at byte i of what isn't held out."""

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

    @property
    def own_sharding(self) -> Contiguous:
        """Pieces of the text: a node that reads one file or book."""
        return Contiguous()

    def reach(self, length: int) -> int:
        """Return ``length``: a window and its targets have one byte more."""
        return length

    def num_samples(self, length: int) -> int:
        """Return in how many places a window and the target of its last byte fit."""
        return max(0, len(_split(self.path)[0]) - length)

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, length) tokens and, as targets, the tokens that follow each."""
        return _windows(_split(self.path)[0], indices, length)

    def too_few(self, num_shards: int, length: int) -> str:
        """Return what to say where a window fits into no place of a shard."""
        return (
            f"{len(_split(self.path)[0])} bytes of text are too few for {num_shards} shards of "
            f"windows of {length} bytes"
        )

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
