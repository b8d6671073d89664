"""What a machine is: the time that it takes for one gradient step."""

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field

from simbench.cluster.jitter import Jitter
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.spec import OneOf, Spec
from simbench.units import Bytes


class Machine(Spec, ABC):
    """A choice of machine; its fields are the YAML keys."""

    kind: str
    jitter: Annotated[Jitter, OneOf("simbench.cluster.jitters")] = LogNormal()
    """Random factor on every step. Equal machines without it march in lock-step by accident."""
    memory: Bytes | None = None
    """What it has for training; by default what is known of it. Unknown memory isn't checked."""
    backward_share: float = Field(default=2 / 3, ge=0, le=1)
    """Last share of a step, in which the gradient comes out, the last layer's first. A backward
    pass has twice the FLOPs of a forward pass (Kaplan et al. 2020, arXiv:2001.08361, 2.1)."""

    @abstractmethod
    def step_ns(self, flops: int) -> float:
        """Return the mean time of one step of ``flops`` floating-point operations.

        Raises:
            ValueError: it can't be told from them.
        """

    @property
    def memory_bytes(self) -> int | None:
        """What training may take; None where nobody knows."""
        return self.memory
