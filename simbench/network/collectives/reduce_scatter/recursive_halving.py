"""Reduce-scatter by recursive halving."""

from collections.abc import Sequence
from typing import Literal

from simbench.network.collective import PointToPoint, ReduceScatter
from simbench.network.schedule import Piece, Schedule, Transfer, block, fold, join, split
from simbench.network.topology import Network


def add_messages(schedule: Schedule, ranks: Sequence[int], pieces: Sequence[Piece]) -> None:
    """Add lg p rounds, after which the i-th of ``ranks`` has the sum of ``pieces[i]``.

    ``ranks`` are a power of two, and ``pieces`` neighbours in order.
    """
    distance = len(ranks) // 2
    while distance:
        schedule.add(
            Transfer(rank, ranks[i ^ distance], block(pieces, i ^ distance, distance), adds=True)
            for i, rank in enumerate(ranks)
        )
        distance //= 2


class RecursiveHalving(ReduceScatter):
    """lg p steps, in each of which nodes exchange halves of what they still add up.

    Without other traffic on equal links it takes lg p latency + (p-1)/p * bytes/bandwidth. Where p
    isn't a power of two, some nodes leave all that they have to a neighbour before, and get their
    piece from it in the end.

    Source:
        Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in
        MPICH", Int. J. High Perform. Comput. Appl. 19 (2005), on reduce-scatter.
    """

    kind: Literal["recursive_halving"] = "recursive_halving"

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return a message of every node in every step."""
        whole = Piece(0, num_bytes)
        pieces = split(whole, len(ranks))
        pairs, active = fold(ranks)
        schedule = Schedule()
        schedule.add(Transfer(out, stays, whole, adds=True) for out, stays in pairs)
        of_pairs = [join(pieces[2 * i : 2 * i + 2]) for i in range(len(pairs))]
        add_messages(schedule, active, of_pairs + pieces[2 * len(pairs) :])
        schedule.add(
            Transfer(stays, out, pieces[2 * i], adds=False) for i, (out, stays) in enumerate(pairs)
        )
        return schedule.messages
