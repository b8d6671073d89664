"""Symbols that are to be said again."""

from typing import Literal

import numpy as np

from simbench.learning.rearranging import Rearranging


class Copy(Rearranging):
    """Random symbols, a separator, and the same symbols again, which are to be predicted.

    Source:
        Graves, Wayne, Danihelka, "Neural Turing Machines", 2014, arXiv:1410.5401, section 4.1.
    """

    kind: Literal["copy"] = "copy"

    def rearranged(self, symbols: np.ndarray) -> np.ndarray:
        """Return them as they are."""
        return symbols
