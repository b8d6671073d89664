"""Log-normal jitter: many small delays that multiply."""

from typing import Literal

import numpy as np
from pydantic import NonNegativeFloat

from simbench.cluster.jitter import Jitter, draws


class LogNormal(Jitter):
    """exp(sigma * z - sigma^2 / 2), z standard normal: mean 1, median below it, a long tail."""

    kind: Literal["lognormal"] = "lognormal"
    sigma: NonNegativeFloat = 0.2
    """Standard deviation of the logarithm."""

    def factor(self, seed: int, rank: int, step: int) -> float:
        """Return one draw."""
        z = draws(seed, rank, step).standard_normal()
        return float(np.exp(self.sigma * z - self.sigma**2 / 2))
