"""Each node sends to those 1, 2, 4, ... places further on."""

from collections.abc import Collection
from typing import Literal

from simbench.peer_graph import PeerGraph


class ExponentialGraph(PeerGraph):
    """Node i sends to (i + 2^t) modulo N for t = 0 ... ceil(log2 N) - 1, a directed graph.

    Each node hears from as many as it sends to.

    Source:
        Ying et al., "Exponential Graph is Provably Efficient for Decentralized Deep Training",
        NeurIPS 2021, arXiv:2110.13363 (static exponential graph).
    """

    kind: Literal["exponential"] = "exponential"

    def peers(self, rank: int, num_nodes: int, step: int) -> Collection[int]:
        """Return those a power of two further on."""
        return [(rank + 2**power) % num_nodes for power in range((num_nodes - 1).bit_length())]
