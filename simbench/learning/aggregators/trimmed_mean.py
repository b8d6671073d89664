"""The mean of each entry without the largest and the smallest values."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from simbench.learning.aggregator import Aggregator
from simbench.spec import misfit


class TrimmedMean(Aggregator):
    """Entry by entry, the mean of what is left without the ``trim`` largest and smallest values.

    While no more than those workers are faulty, every entry lies among those of the others.

    Source:
        Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
        Statistical Rates", ICML 2018, arXiv:1803.01498, definition 2.
    """

    kind: Literal["trimmed_mean"] = "trimmed_mean"
    trim: PositiveInt | Annotated[float, Field(gt=0, lt=0.5)] = 1
    """How many values go at each end: a whole number, or a share below 0.5, rounded down."""

    def num_trimmed(self, num_vectors: int) -> int:
        """Return how many of so many values go at each end."""
        # A share is meant as it is written: 0.1 of 30 is 3, whatever floats make of it.
        exact = Fraction(str(self.trim)) * num_vectors
        return self.trim if isinstance(self.trim, int) else math.floor(exact)

    def check(self, key: str, num_vectors: int) -> None:
        """Refuse to trim all, or nothing."""
        trimmed = self.num_trimmed(num_vectors)
        if not 0 < 2 * trimmed < num_vectors:
            raise misfit(
                (key, "trim"),
                f"expected to take some of {num_vectors} vectors and to leave some; {self.trim} "
                f"takes {trimmed} at each end",
            )

    def weights(self, samples: Sequence[float]) -> None:
        """It is no sum."""
        return

    def combine(self, vectors: Tensor) -> Tensor:
        """Return the mean of each column's middle."""
        trimmed = self.num_trimmed(len(vectors))
        # Sorting puts what isn't a number last.
        return torch.sort(vectors, dim=0).values[trimmed : len(vectors) - trimmed].mean(dim=0)
