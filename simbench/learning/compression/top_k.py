"""Top-k: the largest entries alone."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from simbench.learning.compressor import Compression, Layout, Payload, Turn


class TopK(Compression):
    """The k entries of the largest |x| with their places; the others wait.

    What is left out has at most (1 - k/d) |x|^2, with d the entries. Places take 4 bytes each, and
    differ from node to node, so payloads are gathered.

    Source:
        Stich, Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018, arXiv:1809.07599,
        algorithm 1; Lin et al., "Deep Gradient Compression", ICLR 2018, arXiv:1712.01887.
    """

    kind: Literal["top_k"] = "top_k"
    error_feedback: bool = True
    """Whether what isn't sent is kept, and added to the next vector."""
    share: float = Field(default=0.01, gt=0, le=1)
    """k/d, the share of entries that are sent, rounded up."""

    def _k(self, layout: Layout) -> int:
        return math.ceil(self.share * layout.length)

    def payload_bytes(self, layout: Layout) -> int:
        """Return k numbers and as many places of 4 bytes."""
        return self._k(layout) * (layout.dtype.itemsize + 4)

    def encode(self, vector: Tensor, layout: Layout, turn: Turn) -> Payload:
        """Return numbers, and places, int32."""
        places = vector.abs().topk(self._k(layout), sorted=False).indices.sort().values
        return vector[places], places.to(torch.int32)

    def decode(self, payload: Payload, layout: Layout) -> Tensor:
        """Return what was sent, and 0 elsewhere."""
        numbers, places = payload
        vector: Tensor = numbers.new_zeros(layout.length)
        return vector.index_copy_(0, places.long(), numbers)
