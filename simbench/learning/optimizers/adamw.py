"""AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019)."""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import nn

from simbench.learning.optimizer import Optimizer


class AdamW(Optimizer):
    """Adam with decoupled weight decay, as torch implements it."""

    kind: Literal["adamw"] = "adamw"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the mean of the gradient."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the mean of its square."""
    weight_decay: NonNegativeFloat = 0.01
    """Share of a parameter taken off per unit of learning rate."""

    @property
    def state_vectors(self) -> int:
        """Both means."""
        return 2

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return ``torch.optim.AdamW``."""
        return torch.optim.AdamW(
            parameters,
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
        )
