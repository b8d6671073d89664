"""Broadcast by a scatter down a binomial tree, then an all-gather around a ring."""

from collections.abc import Sequence
from typing import Literal

from simbench.network.collective import Broadcast, PointToPoint
from simbench.network.collectives.all_gather import ring
from simbench.network.merged import are_alike, ring_pairs
from simbench.network.schedule import Piece, Schedule, Transfer, join, split
from simbench.network.topology import Network


class ScatterAllGather(Broadcast):
    """Every node gets a p-th, then all pass their p-ths around: for large vectors.

    Without other traffic on equal links it takes (ceil(lg p) + p-1) latency + 2(p-1)/p *
    bytes/bandwidth for p a power of two.

    Source:
        Barnett, Shuler, van de Geijn, Gupta, Payne, Watts, "Interprocessor collective communication
        library (InterCom)", SHPCC 1994; Thakur, Rabenseifner, Gropp, "Optimization of collective
        communication operations in MPICH", Int. J. High Perform. Comput. Appl. 19 (2005), on
        broadcast.
    """

    kind: Literal["scatter_all_gather"] = "scatter_all_gather"

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return the scatter's messages, then p-1 of every node."""
        schedule, pieces = Schedule(), split(Piece(0, num_bytes), len(ranks))
        _scatter(schedule, ranks, pieces)
        for transfers in ring.rounds(ranks, pieces):
            schedule.add(transfers)
        return schedule.messages

    def flows(self, num_bytes: int, ranks: tuple[int, ...], network: Network) -> list[PointToPoint]:
        """Return the scatter's messages, then one flow from each node to the next."""
        if not are_alike(ring_pairs(ranks), network):
            return self.messages(num_bytes, ranks, network)
        schedule, pieces = Schedule(), split(Piece(0, num_bytes), len(ranks))
        _scatter(schedule, ranks, pieces)
        ring.add_flows(schedule, ranks, pieces)
        return schedule.messages


def _scatter(schedule: Schedule, ranks: Sequence[int], pieces: Sequence[Piece]) -> None:
    """Add ceil(lg p) rounds that bring ``pieces[i]``, which the first has, to the i-th."""
    p = len(ranks)
    distance = 1 << (p - 1).bit_length()
    while distance := distance // 2:
        schedule.add(
            Transfer(
                ranks[i],
                ranks[i + distance],
                join(pieces[i + distance : i + 2 * distance]),
                adds=False,
            )
            for i in range(0, p - distance, 2 * distance)
        )
