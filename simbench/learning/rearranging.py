"""Tasks in which symbols are to be said again, in an order that a rule gives."""

import functools
from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from simbench.learning.dataset import Samples, in_parts
from simbench.learning.model import IGNORED, Batch
from simbench.seeds import generator

_PART_SAMPLES = 50


class Rearranging(Samples, ABC):
    """n random symbols, a separator, and the same n symbols as the rule orders them.

    A sample of 2n tokens holds all but the last; only those behind the separator are to be
    predicted. Who knows the rule predicts all of them.
    """

    samples: PositiveInt = 2000
    """For training, over all nodes."""
    validation_samples: PositiveInt = 200
    """Held out."""
    symbols: int = Field(default=10, ge=2)
    """Different symbols; the separator is one token more."""
    data_seed: NonNegativeInt = 0
    """Names the symbols; runs with other seeds meet the same ones."""

    @abstractmethod
    def rearranged(self, symbols: np.ndarray) -> np.ndarray:
        """Return each row of ``symbols`` (B, n) as the rule orders it."""

    @property
    def yields(self) -> Literal["tokens"]:
        """Tokens, and those that follow each."""
        return "tokens"

    @property
    def num_tokens(self) -> int:
        """Symbols and the separator."""
        return self.symbols + 1

    @property
    def content(self) -> str:
        """Nothing is read."""
        return ""

    def num_samples(self, length: int) -> int:
        """Return ``samples``."""
        return self.samples

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, length) tokens and, as targets, those that follow behind the separator."""
        chosen = torch.from_numpy(indices)
        return tuple(each[chosen] for each in _samples(self, "training", self.samples, length))

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return the held-out samples in parts of 50."""
        return in_parts(
            _samples(self, "validation", self.validation_samples, length), _PART_SAMPLES
        )


@functools.cache
def _samples(spec: Rearranging, purpose: str, count: int, length: int) -> Batch:
    if length % 2:
        raise ValueError(f"half of a sample says the other again; {length} tokens have no half")
    draw = generator(spec.data_seed, f"symbols {purpose}", 0, 0)
    symbols = draw.integers(0, spec.symbols, (count, length // 2))
    separator = np.full((count, 1), spec.symbols)
    line = np.concatenate([symbols, separator, spec.rearranged(symbols)], axis=1)
    targets = line[:, 1:].copy()
    targets[:, : length // 2] = IGNORED
    return torch.from_numpy(line[:, :-1].copy()), torch.from_numpy(targets)
