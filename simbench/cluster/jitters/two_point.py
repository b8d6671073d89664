"""Two-point jitter: a step is as always, or it is slow."""

from typing import Literal

from pydantic import Field, PositiveFloat

from simbench.cluster.jitter import Jitter, draws


class TwoPoint(Jitter):
    """A step is ``slowdown`` times slower than the others with the given ``probability``.

    Both factors are divided by 1 + probability * (slowdown - 1), so that their mean is 1: a machine
    whose steps usually take t has the step time t * (1 + probability * (slowdown - 1)).
    """

    kind: Literal["two_point"] = "two_point"
    probability: float = Field(default=0.05, ge=0, le=1)
    """Of a slow step; each is drawn for itself. For slow spells see ``cluster.stragglers``."""
    slowdown: PositiveFloat = 5.0
    """Time of a slow step over that of another."""

    def factor(self, seed: int, rank: int, step: int) -> float:
        """Return one of the two."""
        slow = draws(seed, rank, step).random() < self.probability
        return (self.slowdown if slow else 1.0) / (1 + self.probability * (self.slowdown - 1))
