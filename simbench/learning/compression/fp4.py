"""Four bits per entry: a sign and an exponent."""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from simbench.learning.compressor import Compression, Layout, Payload, Turn
from simbench.learning.packing import (
    in_blocks,
    num_blocks,
    pack,
    packed_bytes,
    to_entries,
    unpack,
)

_TOP = 7
"""The largest code of three bits: it stands for max|x|, each one below for half as much."""


class FP4(Compression):
    """E3M0: 1 bit of sign, 3 of exponent, none of mantissa; two entries a byte.

    An entry is 0 or +-max|x| / 2^k with k from 0 to 6, whichever is nearest; the maximum, a
    float32, is that of a block. Payloads are gathered, and added up in the task's own type, as in
    the paper.

    Source:
        Douillard et al., "Streaming DiLoCo with overlapping communication", 2025,
        arXiv:2501.18512, section 2.4 (low-precision outer gradients). There nothing is fed back.
        How numbers are scaled isn't told; here it is by blocks.
    """

    kind: Literal["fp4"] = "fp4"
    error_feedback: bool = False
    """Whether what rounding leaves out is kept, and added to the next vector."""
    block_size: PositiveInt | None = 256
    """Entries that share a maximum; all do if there is none."""

    def payload_bytes(self, layout: Layout) -> int:
        """Return half a byte per entry and 4 bytes per block."""
        return packed_bytes(layout.length, 4) + 4 * num_blocks(layout.length, self.block_size)

    def encode(self, vector: Tensor, layout: Layout, turn: Turn) -> Payload:
        """Return maxima, float32, and packed codes, uint8."""
        maxima = in_blocks(vector, self.block_size).abs().amax(1).float()
        tops = to_entries(torch.where(maxima > 0, maxima, 1), self.block_size, len(vector))
        size = vector.abs() / tops
        # 1 is code 7, 1/64 is code 1. Halfway to the code above lies at 3/2 of a number's own size.
        borders = [1 / 128] + [1.5 / 2**k for k in range(_TOP - 1, 0, -1)]
        codes = torch.bucketize(size, size.new_tensor(borders)).to(torch.uint8)
        return maxima, pack(codes | (vector < 0).to(torch.uint8) << 3, bits=4)

    def decode(self, payload: Payload, layout: Layout) -> Tensor:
        """Return the numbers that the codes stand for."""
        maxima, packed = payload
        codes = unpack(packed, 4, layout.length)
        sizes = [0.0] + [2.0 ** (code - _TOP) for code in range(1, _TOP + 1)]
        table = torch.tensor(
            sizes + [-size for size in sizes], dtype=layout.dtype, device=packed.device
        )
        return table[codes] * to_entries(maxima.to(layout.dtype), self.block_size, layout.length)
