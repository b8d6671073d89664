"""Damping by a power of the staleness."""

from typing import Literal

from pydantic import NonNegativeFloat

from simbench.damping import Damping


class PolynomialDamping(Damping):
    """s(tau) = (tau + 1)^(-a).

    Source:
        Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", 2019, arXiv:1903.03934,
        FedAsync+Poly; with a = 1/2, Nguyen et al. 2022, arXiv:2106.06639 (FedBuff).
    """

    kind: Literal["polynomial"] = "polynomial"
    exponent: NonNegativeFloat = 0.5
    """a; 0 is no damping."""

    def factor(self, staleness: int) -> float:
        """Return (staleness + 1) ** -exponent."""
        return float((staleness + 1) ** -self.exponent)
