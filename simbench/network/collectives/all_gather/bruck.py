"""All-gather by Bruck's algorithm: few steps for any number of nodes."""

from collections.abc import Sequence
from typing import Literal

from simbench.network.collective import AllGather, PointToPoint
from simbench.network.schedule import Schedule, Transfer, join, pieces_of
from simbench.network.topology import Network


class Bruck(AllGather):
    """ceil(lg p) steps, in which node i sends what it has to node i - 1, then i - 2, i - 4 ...

    Without other traffic on equal links it takes ceil(lg p) latency + (p-1)/p * bytes/bandwidth.

    Source:
        Bruck, Ho, Kipnis, Upfal, Weathersby, "Efficient algorithms for all-to-all communications
        in multiport message-passing systems", IEEE Trans. Parallel Distrib. Syst. 8 (1997).
    """

    kind: Literal["bruck"] = "bruck"

    def gather(
        self, sizes: Sequence[int], ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return a message of every node in every step."""
        p = len(ranks)
        # Node i has the pieces from i on, around the end of the vector to its beginning.
        pieces = 2 * pieces_of(sizes)
        schedule = Schedule()
        distance = 1
        while distance < p:
            count = min(distance, p - distance)
            schedule.add(
                Transfer(rank, ranks[(i - distance) % p], join(pieces[i : i + count]), adds=False)
                for i, rank in enumerate(ranks)
            )
            distance *= 2
        return schedule.messages
