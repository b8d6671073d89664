"""Half the bytes of float32: FP16."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from simbench.learning.compressor import Layout, Summable, Turn


class FP16(Summable):
    """Every entry as IEEE half precision: 5 bits of exponent, 10 of mantissa, 2 bytes.

    Means are made in it too, as libraries do: each addition rounds. What is beyond its largest
    number, 65504, becomes that.

    Source:
        Micikevicius et al., "Mixed Precision Training", ICLR 2018, arXiv:1710.03740; PyTorch's
        ``fp16_compress_hook`` of distributed data parallel training.
    """

    kind: Literal["fp16"] = "fp16"
    error_feedback: bool = False
    """Whether what rounding leaves out is kept, and added to the next vector."""

    def part_bytes(self, layout: Layout) -> tuple[int, ...]:
        """Return two bytes per entry."""
        return (2 * layout.length,)

    def part(self, vector: Tensor, layout: Layout, turn: Turn, parts: Sequence[Tensor]) -> Tensor:
        """Return ``vector`` rounded to the nearest number that there is."""
        largest = torch.finfo(torch.float16).max
        return vector.clamp(-largest, largest).to(torch.float16)

    def join(self, parts: Sequence[Tensor], layout: Layout, step: int) -> Tensor:
        """Return the same numbers in the task's type."""
        return parts[0].to(layout.dtype)
