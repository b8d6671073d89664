"""A rate that stays."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from simbench.learning.schedule import Schedule


class Constant(Schedule):
    """``factor`` times the rate that the schedule before it has left."""

    kind: Literal["constant"] = "constant"
    factor: NonNegativeFloat = 1.0
    """What the rate is multiplied by."""
    steps: PositiveInt | None = None
    """How long until the next schedule begins; by default for ever."""

    @property
    def duration(self) -> int | None:
        """``steps``."""
        return self.steps

    def factor_at(self, step: int, num_workers: int) -> float:
        """Return ``factor``."""
        return self.factor
