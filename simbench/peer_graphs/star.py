"""One node talks to all others, which talk to it alone."""

from collections.abc import Collection
from typing import Literal

from simbench.peer_graph import PeerGraph


class StarGraph(PeerGraph):
    """Node 0 is the hub. The weights of all edges are 1/N, and leaves keep 1 - 1/N."""

    kind: Literal["star"] = "star"

    def peers(self, rank: int, num_nodes: int, step: int) -> Collection[int]:
        """Return all others for the hub, the hub for the others."""
        return (0,) if rank else range(num_nodes)
