"""Choosing an algorithm by its time, as libraries do."""

from abc import ABC, abstractmethod
from typing import ClassVar

from simbench.network.collective import Collective, PointToPoint, seconds_on
from simbench.network.topology import Network
from simbench.spec import discover

_EQUAL = 1e-6
"""Times that differ by less are equal."""


class Cheapest(Collective, ABC):
    """What takes the least time for that size, among those nodes, on that network.

    Libraries choose by tables and models that were fitted to a machine. Here the network is known,
    and every algorithm is tried on it, without other traffic and with its default settings. Among
    equals it is what sends the fewest messages or flows, then what comes first in the alphabet.

    Source:
        Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in
        MPICH", Int. J. High Perform. Comput. Appl. 19 (2005) (choice by size and nodes).
    """

    automatic: ClassVar[bool] = False

    @property
    @abstractmethod
    def folder(self) -> str:
        """The folder of the operation's algorithms, and the group of their entry points."""

    def chosen(self, num_bytes: int, ranks: tuple[int, ...], network: Network) -> Collective:
        """Return the algorithm that is used."""
        kinds = discover(self.folder, Collective).values()
        candidates: list[Collective] = [found() for found in kinds if found.automatic]
        plans = [each.transfers(num_bytes, ranks, network) for each in candidates]
        times = [seconds_on(network, plan) for plan in plans]
        equal_s = min(times) * (1 + _EQUAL)
        _, best = min((len(plans[i]), i) for i, time_s in enumerate(times) if time_s <= equal_s)
        return candidates[best]

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return the messages of what is chosen."""
        return self.chosen(num_bytes, ranks, network).messages(num_bytes, ranks, network)

    def flows(self, num_bytes: int, ranks: tuple[int, ...], network: Network) -> list[PointToPoint]:
        """Return the flows of what is chosen."""
        return self.chosen(num_bytes, ranks, network).flows(num_bytes, ranks, network)
