"""Every node on one switch that never blocks."""

from typing import Literal

from simbench.network.cabling import SwitchedTopology
from simbench.network.layouts import Layout, clusters
from simbench.network.routing import Link


class Star(SwitchedTopology):
    """One full-duplex link from each node to one switch: only these links are ever shared.

    A server on its own machine is one more node on the switch.
    """

    kind: Literal["star"] = "star"

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return up and down of node 0, up and down of node 1, and so on."""
        return tuple(link for rank in range(num_nodes) for link in self.attach(rank, "switch"))

    def layout(self, num_nodes: int) -> Layout:
        """Return the nodes around the switch."""
        return clusters({"switch": range(num_nodes)})
