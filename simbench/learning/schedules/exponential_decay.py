"""Exponential decay."""

from typing import Literal

from pydantic import Field, PositiveInt

from simbench.learning.schedule import Schedule


class ExponentialDecay(Schedule):
    """Times ``factor`` after each step: torch's ``ExponentialLR``."""

    kind: Literal["exponential_decay"] = "exponential_decay"
    factor: float = Field(default=0.999, gt=0, le=1)
    """How much of the rate stays from one step to the next."""
    steps: PositiveInt | None = None
    """How long until the next schedule begins; by default for ever."""

    @property
    def duration(self) -> int | None:
        """``steps``."""
        return self.steps

    def factor_at(self, step: int, num_workers: int) -> float:
        """Return the power of ``factor``."""
        return float(self.factor**step)
