"""A machine whose step takes a time that the user knows."""

from typing import Literal

from simbench.cluster.machine import Machine
from simbench.units import PositiveNanoseconds


class Fixed(Machine):
    """``step_time`` per step, whatever the model."""

    kind: Literal["fixed"] = "fixed"
    step_time: PositiveNanoseconds = 100 * 10**6
    """Mean time of one gradient step."""

    def step_ns(self, flops: int) -> float:
        """Return ``step_time``."""
        return self.step_time
