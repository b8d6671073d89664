"""Reduce by a reduce-scatter, then a gather up a binomial tree."""

from collections.abc import Sequence
from typing import Literal

from simbench.network import gloo
from simbench.network.collective import PointToPoint, Reduce
from simbench.network.collectives.reduce_scatter import recursive_halving
from simbench.network.schedule import Piece, Schedule, Transfer, fold, join, split
from simbench.network.topology import Network


class ReduceScatterGather(Reduce):
    """Recursive halving leaves each node a p-th of the sum, which go to the first: for large ones.

    Without other traffic on equal links it takes 2 lg p latency + 2(p-1)/p * bytes/bandwidth. Where
    p isn't a power of two, it takes latency + bytes/bandwidth more than for the one below.

    Source:
        Rabenseifner, "Optimization of collective reduction operations", ICCS 2004.
    """

    kind: Literal["reduce_scatter_gather"] = "reduce_scatter_gather"
    implementation: Literal["textbook", "gloo"] = "textbook"
    """``gloo`` does as that library does: see ``simbench.network.gloo``."""

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return a message of every node in every step of halving, then one of all but the root."""
        if self.implementation == "gloo":
            return gloo.reduce(num_bytes, ranks)
        whole = Piece(0, num_bytes)
        # With the root at the end it is in no pair; then it comes first.
        pairs, active = fold((*ranks[1:], ranks[0]))
        active.reverse()
        pieces = split(whole, len(active))
        schedule = Schedule()
        schedule.add(Transfer(out, stays, whole, adds=True) for out, stays in pairs)
        recursive_halving.add_messages(schedule, active, pieces)
        _gather(schedule, active, pieces)
        return schedule.messages


def _gather(schedule: Schedule, ranks: Sequence[int], pieces: Sequence[Piece]) -> None:
    """Add lg p rounds that bring ``pieces[i]``, which the i-th has, to the first."""
    distance = 1
    while distance < len(ranks):
        schedule.add(
            Transfer(ranks[i], ranks[i - distance], join(pieces[i : i + distance]), adds=False)
            for i in range(distance, len(ranks), 2 * distance)
        )
        distance *= 2
