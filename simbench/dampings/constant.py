"""No damping: old news counts like new."""

from typing import Literal

from simbench.damping import Damping


class ConstantDamping(Damping):
    """s(tau) = 1."""

    kind: Literal["constant"] = "constant"

    def factor(self, staleness: int) -> float:
        """Return 1."""
        return 1.0
