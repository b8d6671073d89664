"""QSGD: rounding at random to a few levels, right on average."""

from typing import Literal

import torch
from pydantic import Field, PositiveInt
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


class QSGD(Compression):
    """An entry v_i becomes |v| sign(v_i) l/s, with l a whole number from 0 to s = ``levels``.

    |v| is the 2-norm, and l one of the two neighbours of s |v_i| / |v|, drawn so that the mean is
    right. The variance is at most min(n/s^2, sqrt(n)/s) |v|^2, with n the entries of a block, which
    has a norm of its own, a float32. A level with its sign takes as many bits as 2s + 1 codes need;
    the paper's Elias code, which is shorter where most levels are 0, would make sizes depend on the
    data.

    Source:
        Alistarh et al., "QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding",
        NeurIPS 2017, arXiv:1610.02132, section 3.1, lemma 3.1; blocks ("buckets", there of 512 in
        some experiments) in section 4.
    """

    kind: Literal["qsgd"] = "qsgd"
    error_feedback: bool = False
    """Whether what rounding leaves out is kept; the paper doesn't, since it is right on average."""
    levels: int = Field(default=127, ge=1, lt=2**15)
    """s, the levels above 0: 127 take a byte, 7 half of one, 1 two bits."""
    block_size: PositiveInt | None = 512
    """Entries that share a norm; all do if there is none."""

    @property
    def draws(self) -> bool:
        """Each node for itself, in each turn anew."""
        return True

    @property
    def _bits(self) -> int:
        return (2 * self.levels).bit_length()

    def payload_bytes(self, layout: Layout) -> int:
        """Return packed levels and 4 bytes per block."""
        blocks = num_blocks(layout.length, self.block_size)
        return packed_bytes(layout.length, self._bits) + 4 * blocks

    def encode(self, vector: Tensor, layout: Layout, turn: Turn) -> Payload:
        """Return norms, float32, and packed levels, uint8."""
        norms = in_blocks(vector, self.block_size).norm(dim=1).float()
        scales = to_entries(torch.where(norms > 0, norms, 1), self.block_size, len(vector))
        drawn = layout.draw("qsgd", turn.rank, turn.step).random(len(vector))
        # A norm that float32 rounds down could lift an entry above the highest level.
        height = (vector.abs() / scales).clamp(max=1) * self.levels
        level = (height + torch.from_numpy(drawn).to(height)).floor().clamp(max=self.levels)
        codes = (vector.sign() * level).to(torch.int32) + self.levels
        return norms, pack(codes, self._bits)

    def decode(self, payload: Payload, layout: Layout) -> Tensor:
        """Return norms times levels."""
        norms, packed = payload
        level = unpack(packed, self._bits, layout.length) - self.levels
        scales = to_entries(norms.to(layout.dtype), self.block_size, layout.length)
        return level.to(layout.dtype) / self.levels * scales
