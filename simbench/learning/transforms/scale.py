"""A factor on the gradient."""

from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from simbench.learning.transform import Memory, Transform


class Scale(Transform):
    """g <- factor * g."""

    kind: Literal["scale"] = "scale"
    factor: float = Field(default=1.0, allow_inf_nan=False)
    """What each entry is multiplied by."""

    def apply(
        self, gradient: Tensor, parameters: Tensor, memory: Memory, draw: np.random.Generator | None
    ) -> tuple[Tensor, Memory]:
        """Return the multiple."""
        return gradient * self.factor, memory
