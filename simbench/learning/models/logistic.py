"""Logistic regression with an L2 term: strongly convex, with real sampling noise."""

from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from simbench.learning.model import Batch, Model


class Logistic(Model):
    """Two classes, one linear layer; the loss is cross-entropy + l2/2 * |x|^2."""

    kind: Literal["logistic"] = "logistic"
    features: PositiveInt = 20
    """Entries of one sample."""
    l2: NonNegativeFloat = 0.01
    """Strength of the quadratic term, which makes the loss strongly convex."""

    takes: ClassVar[str] = "features"

    @property
    def length(self) -> int:
        """Entries per sample."""
        return self.features

    def build(self) -> nn.Module:
        """Return the layer: (B, features) in, (B, 1) log-odds out."""
        return nn.Linear(self.features, 1)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Start at zero, where every class is as likely."""
        for parameter in module.parameters():
            nn.init.zeros_(parameter)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the regularised mean cross-entropy, in nats."""
        features, labels = batch
        square = torch.stack([(p**2).sum() for p in module.parameters()]).sum()
        log_odds = module(features).squeeze(1)
        return F.binary_cross_entropy_with_logits(log_odds, labels) + self.l2 / 2 * square
