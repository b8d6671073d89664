"""What a topology is: directed links between nodes and switches, and the way from node to node."""

from abc import ABC, abstractmethod
from typing import Annotated, NamedTuple

from simbench.network.layouts import Layout, springs
from simbench.network.routing import Link, ShortestPaths
from simbench.network.transport import Transport
from simbench.network.transports.ideal import Ideal
from simbench.spec import OneOf, Spec


class Path(NamedTuple):
    """The way from one node to another."""

    links: tuple[int, ...]
    """Indices into the topology's links; none where bytes take no time."""
    latency_ns: int
    """Flight time of the first bit, all links together, without jitter."""
    jitter_ns: tuple[int, ...] = ()
    """Mean extra latency of each link that has any: see ``simbench.network.jitter``."""
    loss: float = 0.0
    """Probability that a packet is lost on one of the links."""


class Topology(Spec, ABC):
    """A choice of network; its fields are the YAML keys.

    Workers have the ranks from 0; servers on machines of their own have those that follow. Each
    topology tells where it attaches them.
    """

    kind: str
    transport: Annotated[Transport, OneOf("simbench.network.transports")] = Ideal()
    """How messages use the links."""

    @abstractmethod
    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return every link, one direction of a cable each; their places are their names.

        Raises:
            ValidationError: it can't be built for ``num_nodes``; made by ``spec.misfit``.
        """

    def route(
        self, ways: ShortestPaths, sender: int, receiver: int, flow: int
    ) -> tuple[int, ...] | None:
        """Return the links from ``sender`` to another node in turn; None where there is no way.

        By default those of a shortest path; among equal ones a hash of the flow decides.
        """
        return ways.route(sender, receiver, flow)

    def check(self, num_workers: int, num_servers: int) -> None:
        """Refuse what can't be built for so many workers and servers on machines of their own.

        Raises:
            ValidationError: it tells the key; made by ``spec.misfit``.
        """
        self.links(num_workers + num_servers)

    def layout(self, num_nodes: int) -> Layout:
        """Return where every node and switch stands in a drawing; by default as springs settle."""
        return springs([(each.tail, each.head) for each in self.links(num_nodes)], range(num_nodes))


class NoRouteError(Exception):
    """Two nodes are cut off from each other."""


class Network:
    """A topology built for so many nodes: its links, and its paths as they are asked for.

    Nothing is worked out for pairs of nodes that never talk; what was worked out is kept.
    """

    def __init__(self, topology: Topology, num_nodes: int) -> None:
        self.topology = topology
        self.num_nodes = num_nodes
        self.links = topology.links(num_nodes)
        self._ways = ShortestPaths(self.links)
        self._paths: dict[tuple[int, int, int], Path] = {}

    def path(self, sender: int, receiver: int, flow: int = 0) -> Path:
        """Return the way from ``sender`` to another node.

        Messages with one ``flow`` take one way, as those of one connection do; other flows
        between the same two may take others.

        Raises:
            NoRouteError: there is no way.
        """
        found = self._paths.get((sender, receiver, flow))
        if found is None:
            found = self._paths[sender, receiver, flow] = self._find(sender, receiver, flow)
        return found

    def set_down(self, down: frozenset[int]) -> None:
        """From now on, paths avoid the links ``down``, and no others."""
        self._ways = ShortestPaths(self.links, down)
        self._paths.clear()

    def _find(self, sender: int, receiver: int, flow: int) -> Path:
        route = self.topology.route(self._ways, sender, receiver, flow)
        if route is None:
            raise NoRouteError(f"there is no way from node {sender} to node {receiver}")
        links = [self.links[link] for link in route]
        arriving = 1.0
        for link in links:
            arriving *= 1 - link.loss
        return Path(
            route,
            sum(link.latency_ns for link in links),
            tuple(link.jitter_ns for link in links if link.jitter_ns),
            1 - arriving,
        )
