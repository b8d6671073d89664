"""Cosine decay."""

import math
from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from simbench.learning.schedule import Schedule


class Cosine(Schedule):
    """From 1 to ``end`` on half a cosine, where it stays.

    end + (1 - end) (1 + cos(pi t / steps)) / 2: torch's ``CosineAnnealingLR``, which would rise
    again after that.

    Source:
        Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
        arXiv:1608.03983, equation 5, without restarts.
    """

    kind: Literal["cosine"] = "cosine"
    steps: PositiveInt = 1000
    """How many steps it takes."""
    end: NonNegativeFloat = 0.0
    """The last factor."""

    @property
    def duration(self) -> int:
        """``steps``."""
        return self.steps

    def factor_at(self, step: int, num_workers: int) -> float:
        """Return what is reached on the way to ``end``."""
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * step / self.steps)) / 2
