"""Logistic regression with an L2 term: strongly convex, with real sampling noise."""

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from simbench.learning.model import Batch, Model, accuracy, cross_entropy


class Logistic(Model):
    """One linear layer; the loss is cross-entropy + l2/2 * |x|^2.

    Two classes share one log-odds; more have a score each (multinomial logistic regression).
    """

    kind: Literal["logistic"] = "logistic"
    features: PositiveInt = 20
    """Entries of one sample."""
    classes: int = Field(default=2, ge=2)
    """Labels that it tells apart."""
    l2: NonNegativeFloat = 0.01
    """Strength of the quadratic term, which makes the loss strongly convex."""

    @property
    def takes(self) -> Literal["features"]:
        """Vectors and labels."""
        return "features"

    @property
    def length(self) -> int:
        """Entries per sample."""
        return self.features

    @property
    def num_classes(self) -> int:
        """Labels."""
        return self.classes

    def build(self) -> nn.Module:
        """Return the layer: (B, features) in, (B, 1) log-odds or (B, classes) logits out."""
        return nn.Linear(self.features, 1 if self.classes == 2 else self.classes)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Start at zero, where every class is as likely."""
        for parameter in module.parameters():
            nn.init.zeros_(parameter)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the regularised mean cross-entropy, in nats."""
        return self._loss(module, module(batch[0]), batch[1])

    def evaluate(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss, and the share of samples whose own class is the most likely."""
        scores, labels = module(batch[0]), batch[1]
        # An even chance is class 0's, as the first of equal scores is.
        both = scores if self.classes > 2 else torch.cat([torch.zeros_like(scores), scores], 1)
        return self._loss(module, scores, labels), accuracy(both, labels)

    def _loss(self, module: nn.Module, scores: Tensor, labels: Tensor) -> Tensor:
        square = torch.stack([(p**2).sum() for p in module.parameters()]).sum()
        if self.classes == 2:
            entropy = F.binary_cross_entropy_with_logits(scores.squeeze(1), labels.to(scores.dtype))
        else:
            entropy = cross_entropy(scores, labels.long())
        return entropy + self.l2 / 2 * square
