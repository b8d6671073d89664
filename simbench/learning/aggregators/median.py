"""The median of each entry."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from simbench.learning.aggregator import Aggregator


class Median(Aggregator):
    """Entry by entry, the middle one of m values, or the mean of the two in the middle.

    While fewer than half of the workers are faulty, every entry lies among those of the others.

    Source:
        Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
        Statistical Rates", ICML 2018, arXiv:1803.01498, definition 1.
    """

    kind: Literal["median"] = "median"

    def weights(self, samples: Sequence[float]) -> None:
        """It is no sum."""
        return

    def combine(self, vectors: Tensor) -> Tensor:
        """Return the middle of each column."""
        # Sorting puts what isn't a number last, where torch's own median would let it win.
        ordered, count = torch.sort(vectors, dim=0).values, len(vectors)
        low, high = ordered[(count - 1) // 2], ordered[count // 2]
        return low.clone() if count % 2 else (low + high) / 2
