"""A byte per entry, on a uniform grid."""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from simbench.learning.compressor import Compression, Layout, Payload, Turn
from simbench.learning.packing import in_blocks, num_blocks, to_entries

_LARGEST = 127


class Int8(Compression):
    """Entries are whole multiples, from -127 to 127, of max|x| / 127.

    With a ``block_size``, each block of so many entries has a maximum of its own. A payload has a
    byte per entry and a float32 per block; bytes can't be added up without overflowing, so payloads
    are gathered and not all-reduced.

    Source:
        Dettmers, "8-Bit Approximations for Parallelism in Deep Learning", ICLR 2016,
        arXiv:1511.04561 (linear quantisation), and Dettmers et al., "8-bit Optimizers via
        Block-wise Quantization", ICLR 2022, arXiv:2110.02861, section 2.1 (blocks).
    """

    kind: Literal["int8"] = "int8"
    error_feedback: bool = False
    """Whether what rounding leaves out is kept, and added to the next vector."""
    block_size: PositiveInt | None = None
    """Entries that share a maximum; by default all do."""

    def payload_bytes(self, layout: Layout) -> int:
        """Return a byte per entry and 4 per block."""
        return layout.length + 4 * num_blocks(layout.length, self.block_size)

    def encode(self, vector: Tensor, layout: Layout, turn: Turn) -> Payload:
        """Return scales, float32, and multiples, int8."""
        scales = in_blocks(vector, self.block_size).abs().amax(1).float() / _LARGEST
        steps = to_entries(torch.where(scales > 0, scales, 1), self.block_size, len(vector))
        multiples = (vector / steps).round().clamp(-_LARGEST, _LARGEST)
        return scales, multiples.to(torch.int8)

    def decode(self, payload: Payload, layout: Layout) -> Tensor:
        """Return scales times multiples."""
        scales, multiples = payload
        steps = to_entries(scales.to(layout.dtype), self.block_size, layout.length)
        return torch.mul(steps, multiples)
