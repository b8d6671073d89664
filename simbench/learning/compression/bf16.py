"""Half the bytes of float32: BF16."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from simbench.learning.compressor import Layout, Summable, Turn


class BF16(Summable):
    """Every entry as bfloat16: float32's 8 bits of exponent, 7 of mantissa, 2 bytes.

    Means are made in it too, as libraries do: each addition rounds.

    Source:
        Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019, arXiv:1905.12322;
        PyTorch's ``bf16_compress_hook`` of distributed data parallel training.
    """

    kind: Literal["bf16"] = "bf16"
    error_feedback: bool = False
    """Whether what rounding leaves out is kept, and added to the next vector."""

    def part_bytes(self, layout: Layout) -> tuple[int, ...]:
        """Return two bytes per entry."""
        return (2 * layout.length,)

    def part(self, vector: Tensor, layout: Layout, turn: Turn, parts: Sequence[Tensor]) -> Tensor:
        """Return ``vector`` rounded to the nearest number that there is."""
        return vector.to(torch.bfloat16)

    def join(self, parts: Sequence[Tensor], layout: Layout, step: int) -> Tensor:
        """Return the same numbers in the task's type."""
        return parts[0].to(layout.dtype)
