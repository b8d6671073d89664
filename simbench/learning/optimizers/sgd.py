"""Stochastic gradient descent, with momentum if asked."""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, model_validator
from torch import nn

from simbench.learning.optimizer import Optimizer
from simbench.spec import misfit


class SGD(Optimizer):
    """x <- x - learning_rate * v, where v <- momentum * v + gradient.

    With ``nesterov``, x <- x - learning_rate * (gradient + momentum * v).
    """

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Weight of the past in v."""
    nesterov: bool = False
    """Whether to look ahead; needs momentum."""
    weight_decay: NonNegativeFloat = 0.0
    """Added to the gradient: weight_decay * x."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "SGD":
        if self.nesterov and not self.momentum:
            raise misfit(("nesterov",), "has no effect without momentum")
        return self

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
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )
