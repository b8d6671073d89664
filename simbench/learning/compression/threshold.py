"""Hard threshold: entries that are large enough."""

from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from simbench.learning.compressor import Compression, Layout, Payload, Turn


class Threshold(Compression):
    """Entries with |x| > ``threshold`` and their places; the others wait.

    How many these are depends on the data: the clock has to wait for the number, so ``plan``
    can't tell what such a strategy costs. All nodes send as much as each has to.

    Source:
        Sahu et al., "Rethinking Gradient Sparsification as Total Error Minimization", NeurIPS 2021,
        arXiv:2108.00951 (hard threshold); Strom, "Scalable Distributed DNN Training Using Commodity
        GPU Cloud Computing", Interspeech 2015, which sends +-threshold alone.
    """

    kind: Literal["threshold"] = "threshold"
    error_feedback: bool = True
    """Whether what isn't sent is kept, and added to the next vector."""
    threshold: NonNegativeFloat = 1e-3
    """What |x| must exceed; with 0, all that isn't 0 is sent."""

    def payload_bytes(self, layout: Layout) -> None:
        """It depends on the vector."""

    def count_bytes(self, vector: Tensor, layout: Layout) -> int:
        """Return the bytes of the entries to be sent and of their places."""
        return int((vector.abs() > self.threshold).sum()) * (layout.dtype.itemsize + 4)

    def encode(self, vector: Tensor, layout: Layout, turn: Turn) -> Payload:
        """Return numbers, and places, int32."""
        places = (vector.abs() > self.threshold).nonzero().flatten()
        return vector[places], places.to(torch.int32)

    def decode(self, payload: Payload, layout: Layout) -> Tensor:
        """Return what was sent, and 0 elsewhere."""
        numbers, places = payload
        vector: Tensor = numbers.new_zeros(layout.length)
        return vector.index_copy_(0, places.long(), numbers)
