"""A network of the user's own: cables in the scenario, or a file."""

from typing import Literal

import networkx as nx
from pydantic import model_validator

from simbench.network.cabling import Wire
from simbench.network.graph_file import GraphFileError, read_cables
from simbench.network.routing import Link, Place
from simbench.network.topology import Topology
from simbench.spec import InputFile, misfit


class Edge(Wire):
    """Cables from one place to others."""

    ends: tuple[Place, ...]
    """The first is joined to each of the others: a number is the rank of a node, a name a switch.
    """

    @model_validator(mode="after")
    def _joins(self) -> "Edge":
        if len(self.ends) < 2:
            raise misfit(("ends",), f"expected at least 2; got {list(self.ends)}")
        for end in self.ends:
            if isinstance(end, int) and end < 0:
                raise misfit(("ends",), f"a rank is at least 0; got {end}")
        if self.ends[0] in self.ends[1:]:
            raise misfit(("ends",), f"{self.ends[0]!r} can't be joined to itself")
        return self


# Two racks of four and a trunk; a server's machine, node 8, stands in the first rack.
_RACKS = (
    Edge(ends=("left", 0, 1, 2, 3, 8)),
    Edge(ends=("right", 4, 5, 6, 7)),
    Edge(ends=("left", "right"), bandwidth=10**9, latency=0),
)


class Graph(Topology):
    """Nodes and switches joined as the user says.

    Nodes are named by their ranks, workers first; a server on its own machine is the node of the
    rank that follows. Nodes of higher ranks take no part. Messages take as few cables as they can,
    through nodes too.
    """

    kind: Literal["graph"] = "graph"
    edges: tuple[Edge, ...] | None = None
    """The cables; by default, and without a file, two racks of four nodes and a trunk."""
    file: InputFile | None = None
    """A GraphML file or a node-link JSON file (``.json``), as networkx writes them. Its edges have
    the attributes ``bandwidth``, ``latency``, ``jitter`` and ``loss``, with units; in a directed
    graph an edge is one direction."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Graph":
        if self.edges is not None and self.file is not None:
            raise misfit(("file",), "has no effect beside edges; give one of the two")
        try:
            self._cables()
        except GraphFileError as error:
            raise misfit(("file",), str(error)) from None
        return self

    def check(self, num_workers: int, num_servers: int) -> None:
        """Refuse a graph that lacks a node, or doesn't join all of them."""
        key = "file" if self.file else "edges"
        graph = nx.DiGraph((link.tail, link.head) for link in self.links(0))
        for rank in range(num_workers + num_servers):
            if rank not in graph:
                what = "the server's machine" if rank >= num_workers else "a worker"
                raise misfit((key,), f"node {rank} ({what}) is missing in the graph")
        ways = (
            (nx.descendants(graph, 0), "there is no way from node 0 to node {}"),
            (nx.ancestors(graph, 0), "there is no way from node {} to node 0"),
        )
        for reached, message in ways:
            for rank in range(1, num_workers + num_servers):
                if rank not in reached:
                    raise misfit((key,), message.format(rank))

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return every cable forth and back, in the order of the file."""
        return self._cables()

    def _cables(self) -> tuple[Link, ...]:
        if self.file is not None:
            return read_cables(self.file)
        edges = _RACKS if self.edges is None else self.edges
        return tuple(
            link
            for edge in edges
            for end in edge.ends[1:]
            for link in edge.cable(edge.ends[0], end)
        )
