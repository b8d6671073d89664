"""Weight decay as a part of the gradient."""

from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from simbench.learning.transform import Memory, Transform


class WeightDecay(Transform):
    """g <- g + rate * x: the slope of an L2 penalty.

    For optimisers that rescale gradients it isn't the decoupled decay of AdamW, which is a setting
    of that optimiser.
    """

    kind: Literal["weight_decay"] = "weight_decay"
    rate: NonNegativeFloat = 0.01
    """Strength of the penalty rate/2 * |x|^2."""

    def apply(
        self, gradient: Tensor, parameters: Tensor, memory: Memory, draw: np.random.Generator | None
    ) -> tuple[Tensor, Memory]:
        """Return the gradient of the loss and the penalty."""
        return torch.add(gradient, parameters, alpha=self.rate), memory
