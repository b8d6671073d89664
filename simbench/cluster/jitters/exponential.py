"""Exponential jitter: the law on which queueing theory has closed forms."""

from typing import Literal

import numpy as np

from simbench.cluster.jitter import Jitter


class Exponential(Jitter):
    """Exponential with mean 1: memoryless, as if a step ended at any moment with equal chance."""

    kind: Literal["exponential"] = "exponential"

    def factor(self, draw: np.random.Generator) -> float:
        """Return one draw."""
        return float(draw.exponential())
