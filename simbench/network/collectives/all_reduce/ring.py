"""Ring all-reduce: reduce-scatter around a ring, then all-gather around it."""

from typing import Literal

from simbench.network import gloo
from simbench.network.collective import AllReduce, PointToPoint
from simbench.network.collectives.all_gather import ring as all_gather
from simbench.network.collectives.reduce_scatter import ring as reduce_scatter
from simbench.network.merged import add_ring, ring_pairs, share_no_link
from simbench.network.schedule import Piece, Schedule, split
from simbench.network.topology import Network


class Ring(AllReduce):
    """2(p-1) steps, in each of which every node sends one p-th of the vector to the next.

    Without other traffic on equal links it takes 2(p-1) latency + 2(p-1)/p * bytes/bandwidth from
    when the last node joins. A node sends its next chunk when the one before has arrived.

    Source:
        Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
        J. Parallel Distrib. Comput. 69 (2009), section 3.
    """

    kind: Literal["ring"] = "ring"
    implementation: Literal["textbook", "gloo"] = "textbook"
    """``gloo`` does as that library does: see ``simbench.network.gloo``."""

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return 2(p-1) messages of every node."""
        if self.implementation == "gloo":
            return gloo.all_reduce(num_bytes, ranks)
        pieces = _pieces(num_bytes, len(ranks))
        schedule = Schedule()
        for half in (reduce_scatter, all_gather):
            for transfers in half.rounds(ranks, pieces):
                schedule.add(transfers)
        return schedule.messages

    def flows(self, num_bytes: int, ranks: tuple[int, ...], network: Network) -> list[PointToPoint]:
        """Return one flow from each node to the next, where these don't meet."""
        p = len(ranks)
        if self.implementation == "gloo" or p == 1 or not share_no_link(ring_pairs(ranks), network):
            return self.messages(num_bytes, ranks, network)
        pieces = _pieces(num_bytes, p)
        # All pieces but its own to be summed up, then all but its successor's to be copied.
        sizes = [
            2 * num_bytes - pieces[i].num_bytes - pieces[(i + 1) % p].num_bytes for i in range(p)
        ]
        schedule = Schedule()
        add_ring(schedule, ranks, sizes, 2 * (p - 1))
        return schedule.messages


def _pieces(num_bytes: int, p: int) -> list[Piece]:
    """Return what each has the sum of between the halves: the i-th has piece i + 1."""
    pieces = split(Piece(0, num_bytes), p)
    return pieces[1:] + pieces[:1]
