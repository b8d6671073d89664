"""Every node joined to the next, and the last to the first."""

from typing import Literal

from simbench.network.cabling import DirectTopology
from simbench.network.layouts import Layout, circle
from simbench.network.routing import Link


class Ring(DirectTopology):
    """A ring of cables; what goes further than a neighbour passes through the nodes between.

    A server on its own machine is one more node of the ring, between the last worker and node 0.
    """

    kind: Literal["ring"] = "ring"

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return forth and back of the cable from node 0 to node 1, and so on."""
        num_cables = num_nodes if num_nodes > 2 else num_nodes - 1
        return tuple(
            link for rank in range(num_cables) for link in self.cable(rank, (rank + 1) % num_nodes)
        )

    def layout(self, num_nodes: int) -> Layout:
        """Return the nodes on a circle."""
        return circle(range(num_nodes))
