"""Symbols that are to be put in order."""

from typing import Literal

import numpy as np

from simbench.learning.rearranging import Rearranging


class Sort(Rearranging):
    """Random symbols, a separator, and the same symbols in ascending order, to be predicted."""

    kind: Literal["sort"] = "sort"

    def rearranged(self, symbols: np.ndarray) -> np.ndarray:
        """Return each row in ascending order."""
        return np.sort(symbols, axis=1)
