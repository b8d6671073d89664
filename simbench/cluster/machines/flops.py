"""A machine whose step takes its FLOPs over a rate."""

from typing import Literal

from pydantic import Field

from simbench.cluster.machine import Machine
from simbench.cluster.rate import time_at_rate_ns
from simbench.units import FlopsPerSecond


class Flops(Machine):
    """A step takes its floating-point operations / (rate * efficiency)."""

    kind: Literal["flops"] = "flops"
    rate: FlopsPerSecond = 10**12
    """Peak rate of the device."""
    efficiency: float = Field(default=0.4, gt=0, le=1)
    """Share of the peak that training reaches (model FLOPs utilisation)."""

    def step_ns(self, flops: int) -> float:
        """Return the time; torch's counter must have seen operations to count."""
        return time_at_rate_ns(flops, self.rate, self.efficiency)
