"""Pure operations that make up for the age of a gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from simbench.execution.operation import PureOperation

_EPSILON = 1e-7
"""Under the square root: that of the authors' own code."""


@dataclass(frozen=True)
class Compensate(PureOperation):
    """A gradient (n,) at ``read``, as it would be at ``now``: g + c g*g*(now - read).

    g*g stands for the diagonal of the Hessian. With a mean of squares (n,), c is ``strength``
    over its root, entry by entry; without one it is ``strength`` itself.
    """

    strength: float

    def __call__(
        self, gradient: Tensor, now: Tensor, read: Tensor, mean_square: Tensor | None = None
    ) -> Tensor:
        drift = gradient * gradient * (now - read)
        if mean_square is not None:
            drift = drift / torch.sqrt(mean_square + _EPSILON)
        return torch.add(gradient, drift, alpha=self.strength)


@dataclass(frozen=True)
class MeanSquare(PureOperation):
    """The running mean (n,) of squared gradients: m v + (1 - m) g*g, from v = 0."""

    decay: float

    def __call__(self, gradient: Tensor, before: Tensor | None = None) -> Tensor:
        new = (1 - self.decay) * gradient * gradient
        return new if before is None else torch.add(new, before, alpha=self.decay)
