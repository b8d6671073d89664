"""Warm-up: small steps first."""

from typing import Literal

from pydantic import Field, PositiveInt

from simbench.learning.schedule import Schedule


class Warmup(Schedule):
    """From ``start`` to 1 on a straight line: start + (1 - start) t / steps.

    Source:
        Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
        arXiv:1706.02677, section 2.2 (gradual warm-up); torch's ``LinearLR``.
    """

    kind: Literal["warmup"] = "warmup"
    steps: PositiveInt = 100
    """How many steps it takes."""
    start: float = Field(default=0.1, ge=0, le=1)
    """The factor of the first step; at 0 that step goes nowhere."""

    @property
    def duration(self) -> int:
        """``steps``."""
        return self.steps

    def factor_at(self, step: int, num_workers: int) -> float:
        """Return what is reached on the way to 1."""
        return self.start + (1 - self.start) * step / self.steps
