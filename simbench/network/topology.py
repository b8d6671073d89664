"""What a topology is: directed links with a rate, and the path from one node to another."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from simbench.spec import Spec


class Path(NamedTuple):
    """The way from one node to another."""

    links: tuple[int, ...]
    """Indices into ``Topology.link_rates_bps``; none where bytes take no time."""
    latency_ns: int
    """Flight time of the first bit, all links together."""


class Topology(Spec, ABC):
    """A choice of network; its fields are the YAML keys."""

    kind: str

    @abstractmethod
    def link_rates_bps(self, num_nodes: int) -> tuple[int, ...]:
        """Return the rate of every directed link."""

    @abstractmethod
    def path(self, sender: int, receiver: int) -> Path:
        """Return the way from ``sender`` to another node."""


class Network:
    """A topology built for so many nodes."""

    def __init__(self, topology: Topology, num_nodes: int) -> None:
        self.topology = topology
        self.num_nodes = num_nodes
        self.link_rates_bps = topology.link_rates_bps(num_nodes)

    def path(self, sender: int, receiver: int) -> Path:
        """Return the way from ``sender`` to another node."""
        return self.topology.path(sender, receiver)
