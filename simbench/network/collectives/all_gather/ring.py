"""All-gather around a ring."""

from collections.abc import Iterator, Sequence
from typing import Literal

from simbench.network import gloo
from simbench.network.collective import AllGather, PointToPoint
from simbench.network.merged import add_ring, ring_pairs, share_no_link
from simbench.network.schedule import Piece, Schedule, Transfer, pieces_of, split
from simbench.network.topology import Network


def rounds(ranks: Sequence[int], pieces: Sequence[Piece]) -> Iterator[list[Transfer]]:
    """Yield p-1 rounds that pass ``pieces[i]``, which the i-th of ``ranks`` has, to all others."""
    p = len(ranks)
    for step in range(p - 1):
        yield [
            Transfer(rank, ranks[(i + 1) % p], pieces[(i - step) % p], adds=False)
            for i, rank in enumerate(ranks)
        ]


def add_flows(schedule: Schedule, ranks: Sequence[int], pieces: Sequence[Piece]) -> None:
    """Add one round of flows for the messages: each sends all pieces but its successor's."""
    if len(ranks) > 1:
        size = sum(piece.num_bytes for piece in pieces)
        sizes = [size - piece.num_bytes for piece in (*pieces[1:], pieces[0])]
        add_ring(schedule, ranks, sizes, len(ranks) - 1)


class Ring(AllGather):
    """p-1 steps, in each of which every node passes on the p-th that it got last.

    Without other traffic on equal links it takes (p-1) latency + (p-1)/p * bytes/bandwidth.

    Source:
        Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
        J. Parallel Distrib. Comput. 69 (2009), section 3.
    """

    kind: Literal["ring"] = "ring"
    implementation: Literal["textbook", "gloo"] = "textbook"
    """``gloo`` does as that library does: see ``simbench.network.gloo``."""

    def gather(
        self, sizes: Sequence[int], ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return p-1 messages of every node."""
        if self.implementation == "gloo":
            return gloo.all_gather(sizes, ranks)
        schedule = Schedule()
        for transfers in rounds(ranks, pieces_of(sizes)):
            schedule.add(transfers)
        return schedule.messages

    def flows(self, num_bytes: int, ranks: tuple[int, ...], network: Network) -> list[PointToPoint]:
        """Return one flow from each node to the next, where these don't meet."""
        if self.implementation == "gloo" or not share_no_link(ring_pairs(ranks), network):
            return self.messages(num_bytes, ranks, network)
        schedule = Schedule()
        add_flows(schedule, ranks, split(Piece(0, num_bytes), len(ranks)))
        return schedule.messages
