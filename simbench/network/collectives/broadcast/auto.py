"""Broadcast by whatever algorithm is the fastest."""

from typing import Literal

from simbench.network.cheapest import Cheapest
from simbench.network.collective import Broadcast


class Auto(Cheapest, Broadcast):
    """The fastest algorithm for that size, among those nodes, on that network."""

    kind: Literal["auto"] = "auto"

    @property
    def folder(self) -> str:
        """The folder of this file."""
        return __package__
