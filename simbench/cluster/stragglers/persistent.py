"""Nodes that are always slower than the others."""

from typing import Literal

from simbench.cluster.straggler import Straggler


class Persistent(Straggler):
    """Every step of these nodes takes ``slowdown`` times as long."""

    kind: Literal["persistent"] = "persistent"

    def is_slow(self, seed: int, purpose: str, rank: int, step: int, num_nodes: int) -> bool:
        """Return True."""
        return True
