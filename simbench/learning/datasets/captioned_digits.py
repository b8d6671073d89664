"""Images with a word each, which names what they show or something else."""

import functools
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeInt

from simbench.learning import handwriting
from simbench.learning.dataset import Samples, in_parts
from simbench.learning.model import Batch
from simbench.seeds import generator

_PART_SAMPLES = 90
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class CaptionedDigits(Samples):
    """Handwritten digits and English words, byte by byte: does the word name the digit?

    Half of them do, the others name one of the other nine; neither image nor word alone tells.
    """

    kind: Literal["captioned_digits"] = "captioned_digits"
    data_seed: NonNegativeInt = 0
    """Names who gets which word; runs with other seeds meet the same ones."""

    @property
    def yields(self) -> Literal["images and tokens"]:
        """Pixels, a word, and whether they belong together."""
        return "images and tokens"

    @property
    def num_features(self) -> int:
        """Pixels."""
        return handwriting.PIXELS

    @property
    def num_tokens(self) -> int:
        """Bytes; behind the word stand zeros."""
        return 256

    @property
    def num_classes(self) -> int:
        """Yes or no."""
        return 2

    @property
    def content(self) -> str:
        """SHA-256 of images and digits."""
        return handwriting.content()

    @property
    def has_labels(self) -> bool:
        """Whether word and image belong together."""
        return True

    def labels(self, length: int) -> np.ndarray:
        """Return 1 where word and image belong together, else 0."""
        return _pairs(self.data_seed, held_out=False, length=length)[2].numpy()

    def num_samples(self, length: int) -> int:
        """Return how many images aren't held out."""
        return len(handwriting.images(held_out=False)[1])

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, 64) pixels, (B, length) bytes and (B,) labels."""
        chosen = torch.from_numpy(indices)
        pairs = _pairs(self.data_seed, held_out=False, length=length)
        return tuple(each[chosen] for each in pairs)

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return the held-out pairs in parts of 90."""
        return in_parts(_pairs(self.data_seed, held_out=True, length=length), _PART_SAMPLES)


@functools.cache
def _pairs(data_seed: int, held_out: bool, length: int) -> Batch:
    if length < max(map(len, WORDS)):
        raise ValueError(f"the words have up to 5 letters, which don't fit into {length} tokens")
    pixels, digits = handwriting.images(held_out)
    draw = generator(data_seed, "captions", int(held_out), 0)
    labels = draw.integers(0, 2, len(digits))
    others = draw.integers(1, len(WORDS), len(digits))
    named = np.where(labels == 1, digits, (digits + others) % len(WORDS))
    words = np.array([list(word.ljust(length, "\0").encode()) for word in WORDS])
    return torch.from_numpy(pixels), torch.from_numpy(words[named]), torch.from_numpy(labels)
