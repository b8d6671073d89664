"""No jitter: every step of a machine takes the same time."""

from typing import Literal

import numpy as np

from simbench.cluster.jitter import Jitter


class NoJitter(Jitter):
    """Always 1. Equal workers then march in lock-step, which real ones don't."""

    kind: Literal["none"] = "none"

    def factor(self, draw: np.random.Generator) -> float:
        """Return 1."""
        return 1.0
