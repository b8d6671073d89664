"""Every node joined to every other by a cable of its own."""

import itertools
from typing import Literal

from simbench.network.cabling import DirectTopology
from simbench.network.layouts import Layout, circle
from simbench.network.routing import Link


class FullyConnected(DirectTopology):
    """n(n-1)/2 cables: no two pairs of nodes ever share a link.

    A server on its own machine is one more node, joined to every other.
    """

    kind: Literal["fully_connected"] = "fully_connected"

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return forth and back between 0 and 1, 0 and 2, and so on."""
        pairs = itertools.combinations(range(num_nodes), 2)
        return tuple(link for pair in pairs for link in self.cable(*pair))

    def layout(self, num_nodes: int) -> Layout:
        """Return the nodes on a circle."""
        return circle(range(num_nodes))
