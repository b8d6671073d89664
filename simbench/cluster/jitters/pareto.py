"""Pareto jitter: now and then a step that takes very long."""

from typing import Literal

from pydantic import Field

from simbench.cluster.jitter import Jitter, draws


class Pareto(Jitter):
    """Pareto of the given shape a: P(factor > x) = (m / x)^a above m = (a - 1) / a, so mean 1.

    The slowest of N takes (a - 1) / a * G(N + 1) G(1 - 1/a) / G(N + 1 - 1/a) on average, with G the
    gamma function.
    """

    kind: Literal["pareto"] = "pareto"
    shape: float = Field(default=3.0, gt=1)
    """The smaller, the heavier the tail: up to 1 there is no mean, up to 2 no variance."""

    def factor(self, seed: int, rank: int, step: int) -> float:
        """Return one draw."""
        # What numpy calls Pareto begins at 0; one more is the classic law, which begins at 1.
        classic = 1 + float(draws(seed, rank, step).pareto(self.shape))
        return classic * (self.shape - 1) / self.shape
