"""All-reduce by whatever algorithm is the fastest."""

from typing import ClassVar, Literal

from simbench.network.cheapest import Cheapest
from simbench.network.collective import AllReduce


class Auto(Cheapest, AllReduce):
    """The fastest algorithm for that size, among those nodes, on that network. Servers are no candidates."""

    kind: Literal["auto"] = "auto"

    folder: ClassVar[str] = __package__
