"""The sign of the gradient."""

from typing import Literal

import numpy as np
from torch import Tensor

from simbench.learning.transform import Memory, Transform


class Sign(Transform):
    """g_j <- sign(g_j): with SGD, signSGD; after ``momentum``, Signum.

    The vector stays as long as it was: what it costs to send is a matter of compression.

    Source:
        Bernstein, Wang, Azizzadenesheli, Anandkumar, "signSGD: Compressed Optimisation for
        Non-Convex Problems", ICML 2018, arXiv:1802.04434, algorithms 1 and 2.
    """

    kind: Literal["sign"] = "sign"

    def apply(
        self, gradient: Tensor, parameters: Tensor, memory: Memory, draw: np.random.Generator | None
    ) -> tuple[Tensor, Memory]:
        """Return -1, 0 or 1 for each entry."""
        return gradient.sign(), memory
