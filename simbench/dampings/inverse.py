"""Damping by the staleness itself."""

from typing import Literal

from simbench.damping import Damping


class InverseDamping(Damping):
    """s(tau) = 1 / tau, and 1 for tau = 0.

    Source:
        Zhang, Gupta, Lian, Liu, "Staleness-aware Async-SGD for Distributed Deep Learning", IJCAI
        2016, arXiv:1511.05950, equation 3. Its tau is the server's timestamp when the gradient
        comes less that of the weights it was computed at: the updates of others, as everywhere
        here. A staleness of 1 therefore isn't damped; ``polynomial`` with exponent 1 is
        1 / (tau + 1).
    """

    kind: Literal["inverse"] = "inverse"

    def factor(self, staleness: int) -> float:
        """Return 1 / staleness."""
        return 1 / max(1, staleness)
