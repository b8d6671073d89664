"""Shifted exponential jitter: work that takes its time, and then a memoryless wait."""

from typing import Literal

from pydantic import Field

from simbench.cluster.jitter import Jitter, draws


class ShiftedExponential(Jitter):
    """floor + (1 - floor) * E, with E exponential of mean 1.

    The slowest of N takes floor + (1 - floor) H_N on average. A step of 1 + Exp(theta) seconds has
    the step time 1 + theta and the floor 1 / (1 + theta).

    Source:
        Lee, Lam, Pedarsani, Papailiopoulos, Ramchandran, "Speeding Up Distributed Machine Learning
        Using Codes", IEEE Transactions on Information Theory 64(3), 2018, arXiv:1512.02673, takes
        it for the time of a worker's task.
    """

    kind: Literal["shifted_exponential"] = "shifted_exponential"
    floor: float = Field(default=0.5, ge=0, le=1)
    """Share of the mean that every step takes; 0 is ``exponential``, 1 ``constant``."""

    def factor(self, seed: int, rank: int, step: int) -> float:
        """Return one draw."""
        return self.floor + (1 - self.floor) * float(draws(seed, rank, step).exponential())
