"""Decay in stairs."""

from typing import Literal

from pydantic import Field, PositiveInt

from simbench.learning.schedule import Schedule


class StepDecay(Schedule):
    """Times ``factor`` after each ``every`` steps: torch's ``StepLR``."""

    kind: Literal["step_decay"] = "step_decay"
    every: PositiveInt = 1000
    """Steps on one stair."""
    factor: float = Field(default=0.1, ge=0, le=1)
    """How much of the rate stays from one stair to the next."""
    steps: PositiveInt | None = None
    """How long until the next schedule begins; by default for ever."""

    @property
    def duration(self) -> int | None:
        """``steps``."""
        return self.steps

    def factor_at(self, step: int, num_workers: int) -> float:
        """Return the height of the stair."""
        return float(self.factor ** (step // self.every))
