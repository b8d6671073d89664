"""Damping of what is staler than a bound."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt

from simbench.damping import Damping


class HingeDamping(Damping):
    """s(tau) = 1 up to tau = b, and 1 / (a (tau - b) + 1) beyond.

    Source:
        Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", 2019, arXiv:1903.03934,
        FedAsync+Hinge, with a = 10 and b = 4 in its experiments.
    """

    kind: Literal["hinge"] = "hinge"
    slope: NonNegativeFloat = 10.0
    """a, how fast the weight falls beyond the bound."""
    bound: NonNegativeInt = 4
    """b, the largest staleness that isn't damped."""

    def factor(self, staleness: int) -> float:
        """Return 1, or less beyond the bound."""
        return 1 / (self.slope * max(0, staleness - self.bound) + 1)
