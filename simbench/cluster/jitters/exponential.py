"""Exponential jitter: the law on which queueing theory has closed forms."""

from typing import Literal

from simbench.cluster.jitter import Jitter, draws


class Exponential(Jitter):
    """Exponential with mean 1: memoryless, as if a step ended at any moment with equal chance.

    The slowest of N takes H_N = 1 + 1/2 + ... + 1/N on average.
    """

    kind: Literal["exponential"] = "exponential"

    def factor(self, seed: int, rank: int, step: int) -> float:
        """Return one draw."""
        return float(draws(seed, rank, step).exponential())
