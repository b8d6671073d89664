"""No jitter: every step of a machine takes the same time."""

from typing import Literal

from simbench.cluster.jitter import Jitter


class Constant(Jitter):
    """Always 1. Equal workers then march in lock-step, which real ones don't."""

    kind: Literal["constant"] = "constant"

    def factor(self, seed: int, rank: int, step: int) -> float:
        """Return 1."""
        return 1.0
