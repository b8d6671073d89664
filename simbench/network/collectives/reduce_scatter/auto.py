"""Reduce-scatter by whatever algorithm is the fastest."""

from typing import ClassVar, Literal

from simbench.network.cheapest import Cheapest
from simbench.network.collective import ReduceScatter


class Auto(Cheapest, ReduceScatter):
    """The fastest algorithm for that size, among those nodes, on that network."""

    kind: Literal["auto"] = "auto"

    folder: ClassVar[str] = __package__
