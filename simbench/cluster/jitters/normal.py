"""Normal jitter: many small delays that add up."""

from statistics import NormalDist
from typing import Literal

from pydantic import PositiveFloat

from simbench.cluster.jitter import Jitter, draws


class Normal(Jitter):
    """Normal around 1, drawn again while it isn't above 0, and divided by its mean.

    What is cut off below 0 raises the mean to m = 1 + s phi(1/s) / (1 - Phi(-1/s)), with s the
    ``deviation``, phi and Phi the standard normal's density and distribution; the factor is divided
    by m, so its mean is exactly 1. At s = 0.2 hardly anything is cut off (m = 1 + 3e-7); at s = 1,
    m is 1.29, and the factor's own deviation 0.62.
    """

    kind: Literal["normal"] = "normal"
    deviation: PositiveFloat = 0.1
    """Standard deviation before anything is cut off."""

    def factor(self, seed: int, rank: int, step: int) -> float:
        """Return one draw."""
        draw = draws(seed, rank, step)
        # At most every second draw is thrown away, since the centre lies above 0.
        while (drawn := float(draw.normal(1, self.deviation))) <= 0:
            pass
        return drawn / self._mean

    @property
    def _mean(self) -> float:
        """Mean of a normal of mean 1, given that it is above 0."""
        around_1 = NormalDist(1, self.deviation)
        return 1 + self.deviation**2 * around_1.pdf(0) / (1 - around_1.cdf(0))
