"""One slow node at a time, in turn."""

from typing import Literal

from pydantic import PositiveInt

from simbench.cluster.straggler import Straggler


class Rotating(Straggler):
    """One node at a time is slow, in turn: at step c, node number floor(c / every) mod their count.

    Each node counts its own steps, from 0; the clock has no say. All are slow equally often, but
    where a step waits for the slowest, every step is slow.

    Source:
        Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter
        Server", NeurIPS 2013, is about workers that fall behind for a time; this is the plainest
        pattern of such, and the one on which bounded staleness has a closed form.
    """

    kind: Literal["rotating"] = "rotating"
    every: PositiveInt = 1
    """Steps after which the turn passes on, in the order of ``nodes``."""

    def is_slow(self, seed: int, purpose: str, rank: int, step: int, num_nodes: int) -> bool:
        """Return whether it is this node's turn."""
        turns = range(num_nodes) if self.nodes is None else self.nodes
        return turns[step // self.every % len(turns)] == rank
