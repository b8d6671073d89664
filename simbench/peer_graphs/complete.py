"""Everybody talks to everybody."""

from collections.abc import Collection
from typing import Literal

from simbench.peer_graph import PeerGraph


class CompleteGraph(PeerGraph):
    """All weights are 1/N: one round makes the mean."""

    kind: Literal["complete"] = "complete"

    def peers(self, rank: int, num_nodes: int, step: int) -> Collection[int]:
        """Return all."""
        return range(num_nodes)
