"""Each node talks to the two beside it."""

from collections.abc import Collection
from typing import Literal

from simbench.peer_graph import PeerGraph


class RingGraph(PeerGraph):
    """Node i and node i + 1 modulo N talk to each other; from 3 nodes on, all weights are 1/3."""

    kind: Literal["ring"] = "ring"

    def peers(self, rank: int, num_nodes: int, step: int) -> Collection[int]:
        """Return the one before and the one after."""
        return ((rank - 1) % num_nodes, (rank + 1) % num_nodes)
