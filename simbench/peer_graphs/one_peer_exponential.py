"""Each node sends to one other, 1, 2, 4, ... places further on in turn."""

from collections.abc import Collection
from typing import Literal

from simbench.peer_graph import PeerGraph


class OnePeerExponentialGraph(PeerGraph):
    """In round k, node i sends to (i + 2^(k mod tau)) modulo N, with tau = ceil(log2 N).

    For N a power of two, tau rounds with weights 1/2 make the exact mean.

    Source:
        Assran et al., "Stochastic Gradient Push for Distributed Deep Learning", ICML 2019,
        arXiv:1811.10792; Ying et al., "Exponential Graph is Provably Efficient for Decentralized
        Deep Training", NeurIPS 2021, arXiv:2110.13363 (one-peer exponential graph).
    """

    kind: Literal["one_peer_exponential"] = "one_peer_exponential"

    def peers(self, rank: int, num_nodes: int, step: int) -> Collection[int]:
        """Return the one whose turn it is."""
        return ((rank + 2 ** (step % self.period(num_nodes))) % num_nodes,)

    def period(self, num_nodes: int) -> int:
        """Return tau; 1 for a node alone."""
        return max(1, (num_nodes - 1).bit_length())
