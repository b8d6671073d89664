"""All-reduce by recursive doubling: whole vectors in few steps."""

from typing import Literal

from simbench.network.collective import AllReduce, PointToPoint
from simbench.network.schedule import Piece, Schedule, Transfer, fold
from simbench.network.topology import Network


class RecursiveDoubling(AllReduce):
    """lg p steps in which nodes exchange whole vectors, twice as far each time: for small ones.

    Without other traffic on equal links it takes lg p (latency + bytes/bandwidth). Where p isn't a
    power of two, it takes 2 (latency + bytes/bandwidth) more than for the one below.

    Source:
        Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in
        MPICH", Int. J. High Perform. Comput. Appl. 19 (2005), on all-reduce.
    """

    kind: Literal["recursive_doubling"] = "recursive_doubling"

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return a message of every node in every step."""
        whole = Piece(0, num_bytes)
        pairs, active = fold(ranks)
        schedule = Schedule()
        schedule.add(Transfer(out, stays, whole, adds=True) for out, stays in pairs)
        distance = 1
        while distance < len(active):
            schedule.add(
                Transfer(rank, active[i ^ distance], whole, adds=True)
                for i, rank in enumerate(active)
            )
            distance *= 2
        schedule.add(Transfer(stays, out, whole, adds=False) for out, stays in pairs)
        return schedule.messages
