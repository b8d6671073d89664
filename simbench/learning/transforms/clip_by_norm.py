"""Clipping of the whole gradient, which keeps its direction."""

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import PositiveFloat
from torch import Tensor

from simbench.learning.transform import Memory, Transform


class ClipByNorm(Transform):
    """g <- g * min(1, norm / |g|), with |g| over all parameters.

    Source:
        Pascanu, Mikolov, Bengio, "On the Difficulty of Training Recurrent Neural Networks", ICML
        2013, arXiv:1211.5063, algorithm 1.
    """

    kind: Literal["clip_by_norm"] = "clip_by_norm"
    norm: PositiveFloat = 1.0
    """The longest that a gradient may be (2-norm)."""

    needs_whole: ClassVar[bool] = True

    def apply(
        self, gradient: Tensor, parameters: Tensor, memory: Memory, draw: np.random.Generator | None
    ) -> tuple[Tensor, Memory]:
        """Return the gradient, shortened where it is too long."""
        return gradient * torch.clamp(self.norm / gradient.norm(), max=1), memory
