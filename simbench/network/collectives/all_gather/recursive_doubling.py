"""All-gather by recursive doubling."""

from collections.abc import Sequence
from typing import Literal

from simbench.network.collective import AllGather, PointToPoint
from simbench.network.schedule import Piece, Schedule, Transfer, block, fold, join, pieces_of
from simbench.network.topology import Network


def add_messages(schedule: Schedule, ranks: Sequence[int], pieces: Sequence[Piece]) -> None:
    """Add lg p rounds that bring ``pieces[i]``, which the i-th of ``ranks`` has, to all others.

    ``ranks`` are a power of two, and ``pieces`` neighbours in order.
    """
    distance = 1
    while distance < len(ranks):
        schedule.add(
            Transfer(rank, ranks[i ^ distance], block(pieces, i, distance), adds=False)
            for i, rank in enumerate(ranks)
        )
        distance *= 2


class RecursiveDoubling(AllGather):
    """lg p steps, in each of which nodes exchange all that they have.

    Without other traffic on equal links it takes lg p latency + (p-1)/p * bytes/bandwidth. Where p
    isn't a power of two, some nodes leave their piece to a neighbour before, and get everything
    from it in the end: ``bruck`` is faster then.

    Source:
        Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in
        MPICH", Int. J. High Perform. Comput. Appl. 19 (2005), on all-gather.
    """

    kind: Literal["recursive_doubling"] = "recursive_doubling"

    def gather(
        self, sizes: Sequence[int], ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return a message of every node in every step."""
        pieces = pieces_of(sizes)
        pairs, active = fold(ranks)
        schedule = Schedule()
        schedule.add(
            Transfer(out, stays, pieces[2 * i], adds=False) for i, (out, stays) in enumerate(pairs)
        )
        of_pairs = [join(pieces[2 * i : 2 * i + 2]) for i in range(len(pairs))]
        add_messages(schedule, active, of_pairs + pieces[2 * len(pairs) :])
        schedule.add(Transfer(stays, out, join(pieces), adds=False) for out, stays in pairs)
        return schedule.messages
