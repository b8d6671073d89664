"""Text as a line of tokens: what is read, what is held out, and windows of it."""

import functools
import hashlib
from abc import ABC
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from simbench.learning.dataset import Samples
from simbench.learning.shards.contiguous import Contiguous
from simbench.spec import InputPath, misfit

BLOCK_BYTES = 4096
"""Every tenth block of the tokens is held out; blocks of a short text are a twentieth of it."""
PART_SAMPLES = 16
"""Held-out windows that are evaluated in one operation."""
BYTES = 256


class Corpus(Samples, ABC):
    """Windows of a text: sample i begins at token i of what isn't held out."""

    path: InputPath | None = None
    """A UTF-8 file, or a folder of .txt and .md files, read in the order of their paths; by default
    the topics of CPython's ``help()``, which every Python brings."""
    tokens: Literal["bytes", "bpe"] = "bytes"
    """What a token is: a byte, or a piece that byte-pair encoding learned from the text, which
    takes simbench[huggingface]."""
    pieces: int = Field(default=512, gt=BYTES)
    """Different tokens of ``bpe``, the bytes among them."""
    validation_samples: PositiveInt = 128
    """Held-out windows, spread evenly; a multiple of 16 wastes nothing."""

    @model_validator(mode="after")
    def _has_an_effect(self) -> "Corpus":
        if "pieces" in self.model_fields_set and self.tokens == "bytes" and self.pieces != 512:
            raise misfit(("pieces",), "has no effect with tokens: bytes")
        return self

    @property
    def num_pieces(self) -> int:
        """How many different tokens the text is made of."""
        return BYTES if self.tokens == "bytes" else self.pieces

    @property
    def content(self) -> str:
        """SHA-256 of the text or, where it is encoded, of its tokens."""
        line = _line(self.path, self.tokens, self.pieces)
        return hashlib.sha256(line.tobytes()).hexdigest()

    @property
    def own_sharding(self) -> Contiguous:
        """Pieces of the text: a node that reads one file or book."""
        return Contiguous()

    def training_line(self) -> np.ndarray:
        """Return the tokens that aren't held out, one behind the other."""
        return _split(self.path, self.tokens, self.pieces)[0]

    def held_out_starts(self, length: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the held-out tokens, and where windows of ``length`` begin, in equal parts."""
        _, held_out = _split(self.path, self.tokens, self.pieces)
        if len(held_out) <= length:
            raise ValueError(
                f"{len(held_out)} held-out {self._what} are too few for windows of {length}"
            )
        starts = np.linspace(0, len(held_out) - length - 1, self.validation_samples).astype(int)
        return held_out, [starts[i : i + PART_SAMPLES] for i in range(0, len(starts), PART_SAMPLES)]

    def reach(self, length: int) -> int:
        """Return ``length``: a window and its targets have one token more."""
        return length

    def num_samples(self, length: int) -> int:
        """Return in how many places a window and the target of its last token fit."""
        return max(0, len(self.training_line()) - length)

    def too_few(self, num_shards: int, length: int) -> str:
        """Return what to say where a window fits into no place of a shard."""
        return (
            f"{len(self.training_line())} {self._what} of text are too few for {num_shards} shards "
            f"of windows of {length} {self._what}"
        )

    @property
    def _what(self) -> str:
        return "bytes" if self.tokens == "bytes" else "tokens"


def windows(line: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Return the ``length`` tokens from each of ``starts`` (B,) on, of shape (B, length)."""
    return line[starts[:, None] + np.arange(length)].astype(np.int64)


@functools.cache
def _text(path: str | None) -> bytes:
    if path is None:
        from pydoc_data.topics import topics  # noqa: PLC0415 - 0.7 MB that other data don't need

        return "\n\n".join(topics[name] for name in sorted(topics)).encode()
    place = Path(path)
    if place.is_file():
        return place.read_bytes()
    files = sorted(each for each in place.rglob("*") if each.suffix in (".txt", ".md"))
    return b"\n\n".join(each.read_bytes() for each in files)


@functools.cache
def _line(path: str | None, tokens: str, pieces: int) -> np.ndarray:
    text = _text(path)
    if tokens == "bytes":
        return np.frombuffer(text, dtype=np.uint8)
    return _encoded(text.decode(errors="replace"), pieces)


def _encoded(text: str, pieces: int) -> np.ndarray:
    """Return ``text`` in the byte pairs learned from it.

    Source:
        Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", ACL 2016,
        arXiv:1508.07909; over bytes as in Radford et al. 2019 (GPT-2), section 2.2.
    """
    try:
        import tokenizers  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise ValueError(
            "tokens: bpe takes tokenizers: pip install simbench[huggingface]"
        ) from None
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=pieces,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Line by line: a tokenizer takes a word apart, and no word goes over a line's end.
    lines = text.splitlines(keepends=True)
    tokenizer.train_from_iterator(lines, trainer)
    ids = [each.ids for each in tokenizer.encode_batch(lines)]
    return np.concatenate([np.array(each, dtype=np.int32) for each in ids])


@functools.cache
def _split(path: str | None, tokens: str, pieces: int) -> tuple[np.ndarray, np.ndarray]:
    line = _line(path, tokens, pieces)
    block = max(1, min(BLOCK_BYTES, len(line) // 20))
    held_out = np.arange(len(line)) // block % 10 == 9
    return line[~held_out], line[held_out]
