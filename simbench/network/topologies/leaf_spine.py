"""Racks of nodes on leaf switches, and spine switches that join them."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from simbench.network.cabling import TieredTopology
from simbench.network.layouts import Layout, tiers
from simbench.network.routing import Link


class LeafSpine(TieredTopology):
    """Two tiers: nodes fill the leaves in order of rank, and every leaf has a link to every spine.

    The links up of a leaf together have the rate of its ports (each that of the fastest node) over
    the oversubscription. Messages between leaves take a spine chosen by a hash of the flow. With
    one spine and two leaves it is two racks and a trunk between them. A server on its own machine
    is on the next free port: on a leaf of its own where the workers fill theirs.

    Source:
        Alizadeh and Edsall, "On the data path performance of leaf-spine datacenter fabrics",
        HotI 2013.
    """

    kind: Literal["leaf_spine"] = "leaf_spine"
    nodes_per_leaf: PositiveInt = 4
    """Ports of each leaf for nodes."""
    spines: PositiveInt = 2
    """Spine switches."""
    oversubscription: Annotated[float, Field(gt=0)] = 1.0
    """Rate of a leaf's ports for nodes over that of its links up: 1 never blocks, 4 is "4:1"."""

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return up and down of every node, then of every leaf to each spine."""
        links: list[Link] = []
        for rank in range(num_nodes):
            links += self.attach(rank, f"leaf {rank // self.nodes_per_leaf}")
        num_leaves = -(-num_nodes // self.nodes_per_leaf)
        for leaf in range(num_leaves if num_leaves > 1 else 0):
            for spine in range(self.spines):
                links += self.trunk(f"leaf {leaf}", f"spine {spine}", self.uplink_bps)
        return tuple(links)

    def layout(self, num_nodes: int) -> Layout:
        """Return nodes, leaves and spines above each other."""
        num_leaves = -(-num_nodes // self.nodes_per_leaf)
        leaves = [f"leaf {leaf}" for leaf in range(num_leaves)]
        spines = [f"spine {spine}" for spine in range(self.spines if num_leaves > 1 else 0)]
        layout = tiers([range(num_leaves * self.nodes_per_leaf), leaves, spines])
        return {
            place: position
            for place, position in layout.items()
            if isinstance(place, str) or place < num_nodes
        }

    @property
    def uplink_bps(self) -> int:
        """Rate of each link from a leaf to a spine."""
        ports_bps = self.nodes_per_leaf * self.fastest_bps
        return max(1, round(ports_bps / self.oversubscription / self.spines))
