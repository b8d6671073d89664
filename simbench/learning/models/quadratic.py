"""A quadratic per node: the model on which theory speaks in closed forms."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from simbench.learning.model import Batch, Model


class Quadratic(Model):
    """Node i minimises sum_j a_ij (x_j - c_i)^2 / 2, and its gradient carries noise.

    a_ij is the node's ``curvature`` times a factor that goes geometrically from 1 to ``condition``
    over the entries j; c_i is its ``optimum``.
    """

    kind: Literal["quadratic"] = "quadratic"
    dimension: PositiveInt = 10
    """Entries of x."""
    curvature: tuple[PositiveFloat, ...] = Field(default=(1.0,), min_length=1)
    """One number per node; node i takes entry i modulo their count."""
    optimum: tuple[float, ...] = Field(default=(0.0,), min_length=1)
    """One number per node, the same in every entry of x; taken as ``curvature`` is."""
    condition: float = Field(default=1.0, ge=1)
    """Largest curvature over the smallest."""
    noise: NonNegativeFloat = 0.0
    """Standard deviation of one sample's gradient, per entry."""
    start: float = 1.0
    """First value of every entry of x."""

    @property
    def takes(self) -> Literal["noise"]:
        """Noise, and whose it is."""
        return "noise"

    @property
    def length(self) -> int:
        """Entries per sample."""
        return self.dimension

    def build(self) -> nn.Module:
        """Return a module that holds x, of shape (dimension,), and nothing else."""
        return _Point(self)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Start everywhere at ``start``: closed forms want a known beginning."""
        for parameter in module.parameters():
            nn.init.constant_(parameter, self.start)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss over the samples: each names its node and carries its noise."""
        noise, rank = batch  # (B, dimension), (B,)
        assert isinstance(module, _Point)
        # (B,), or (1,) where all nodes have the same: to look that up takes longer than the rest.
        curvature, optimum = (
            each if len(each) == 1 else each[rank % len(each)]
            for each in (module.curvature, module.optimum)
        )
        bowl = (module.x - optimum[:, None]) ** 2 @ module.factor * curvature / 2  # as long
        return (bowl + self.noise * noise @ module.x if self.noise else bowl).mean()


class _Point(nn.Module):
    """x, and what doesn't change, in float64: the module may be put into any type."""

    curvature: Tensor
    optimum: Tensor
    factor: Tensor

    def __init__(self, spec: Quadratic) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(spec.dimension))
        # By NumPy, since torch's own, where only shapes are asked for, imports for a second.
        factor = np.geomspace(1, spec.condition, spec.dimension)
        self.register_buffer("factor", torch.tensor(factor))
        self.register_buffer("curvature", torch.tensor(spec.curvature, dtype=torch.float64))
        self.register_buffer("optimum", torch.tensor(spec.optimum, dtype=torch.float64))
