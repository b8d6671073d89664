"""Broadcast, by whatever algorithm is the fastest."""

from typing import ClassVar, Literal

from simbench.network.cheapest import cheapest
from simbench.network.collective import Broadcast, PointToPoint
from simbench.network.topology import Network


class Auto(Broadcast):
    """What takes the least time for that size, among those nodes, on that network.

    Libraries choose by tables and models that were fitted to a machine; here the network is known,
    and every algorithm is tried on it without other traffic. Algorithms that need machines of their
    own, or that libraries don't offer, aren't.

    Source:
        Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in
        MPICH", Int. J. High Perform. Comput. Appl. 19 (2005) (choice by size and nodes).
    """

    kind: Literal["auto"] = "auto"

    automatic: ClassVar[bool] = False

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return the messages of the fastest."""
        return _fastest(num_bytes, ranks, network).messages(num_bytes, ranks, network)

    def flows(self, num_bytes: int, ranks: tuple[int, ...], network: Network) -> list[PointToPoint]:
        """Return the flows of the fastest."""
        return _fastest(num_bytes, ranks, network).flows(num_bytes, ranks, network)


def _fastest(num_bytes: int, ranks: tuple[int, ...], network: Network) -> Broadcast:
    return cheapest("simbench.network.collectives.broadcast", Broadcast, num_bytes, ranks, network)
