"""Gradients that point the wrong way."""

from dataclasses import dataclass
from typing import Literal

from pydantic import PositiveFloat
from torch import Tensor

from simbench.execution.operation import PureOperation
from simbench.learning.fault import Fault


class SignFlip(Fault):
    """g becomes -``scale`` g.

    Source:
        Li, Xu, Chen, Giannakis, Ling, "RSA: Byzantine-Robust Stochastic Aggregation Methods for
        Distributed Learning from Heterogeneous Datasets", AAAI 2019, arXiv:1811.03761 (the
        sign-flipping attack).
    """

    kind: Literal["sign_flip"] = "sign_flip"
    scale: PositiveFloat = 1.0
    """How many times as long the gradient becomes."""

    def operation(self, seed: int) -> "Flip":
        """Return what turns it round."""
        return Flip(self.scale)


@dataclass(frozen=True)
class Flip(PureOperation):
    """A vector (n,), turned round and ``scale`` times as long."""

    scale: float

    def __call__(self, gradient: Tensor, rank: int, step: int) -> Tensor:
        """Return -scale * gradient."""
        return gradient * -self.scale
