"""Clipping of each entry by itself."""

from typing import Literal

import numpy as np
from pydantic import PositiveFloat
from torch import Tensor

from simbench.learning.transform import Memory, Transform


class ClipByValue(Transform):
    """g_j <- max(-value, min(value, g_j)), which changes the gradient's direction."""

    kind: Literal["clip_by_value"] = "clip_by_value"
    value: PositiveFloat = 1.0
    """The largest that an entry may be."""

    def apply(
        self, gradient: Tensor, parameters: Tensor, memory: Memory, draw: np.random.Generator | None
    ) -> tuple[Tensor, Memory]:
        """Return the gradient, its entries clipped."""
        return gradient.clamp(-self.value, self.value), memory
