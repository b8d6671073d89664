"""Stochastic gradient descent, with momentum if asked."""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import nn

from simbench.learning.optimizer import Optimizer


class SGD(Optimizer):
    """x <- x - learning_rate * v, where v <- momentum * v + gradient."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Weight of the past in v."""
    weight_decay: NonNegativeFloat = 0.0
    """Added to the gradient: weight_decay * x."""

    @property
    def state_vectors(self) -> int:
        """The velocity, if there is momentum."""
        return 1 if self.momentum else 0

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return ``torch.optim.SGD``."""
        return torch.optim.SGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
