"""Linear decay."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from simbench.learning.schedule import Schedule


class Linear(Schedule):
    """From 1 to ``end`` on a straight line, where it stays: 1 + (end - 1) t / steps.

    Torch's ``LinearLR``.
    """

    kind: Literal["linear"] = "linear"
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
        return 1 + (self.end - 1) * step / self.steps
