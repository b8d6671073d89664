"""All-gather by whatever algorithm is the fastest."""

from collections.abc import Sequence
from typing import Literal

from simbench.network.cheapest import Cheapest
from simbench.network.collective import AllGather, PointToPoint
from simbench.network.topology import Network


class Auto(Cheapest, AllGather):
    """The fastest algorithm for that size, among those nodes, on that network.

    For unequal pieces, it is what is the fastest for equal ones of the same size together.
    """

    kind: Literal["auto"] = "auto"

    @property
    def folder(self) -> str:
        """The folder of this file."""
        return __package__

    def gather(
        self, sizes: Sequence[int], ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return the messages of what is chosen."""
        chosen = self.chosen(sum(sizes), ranks, network)
        assert isinstance(chosen, AllGather)
        return chosen.gather(sizes, ranks, network)
