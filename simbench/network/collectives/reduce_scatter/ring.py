"""Reduce-scatter around a ring."""

from collections.abc import Sequence
from typing import Literal

from simbench.network.collective import PointToPoint, ReduceScatter
from simbench.network.merged import apart, ring_flows
from simbench.network.schedule import Piece, Schedule, Transfer, split
from simbench.network.topology import Network


def add_messages(schedule: Schedule, ranks: Sequence[int], pieces: Sequence[Piece]) -> None:
    """Add p-1 rounds, after which the i-th of ``ranks`` has the sum of ``pieces[i]``."""
    p = len(ranks)
    for step in range(p - 1):
        schedule.add(
            Transfer(ranks[i], ranks[(i + 1) % p], pieces[(i - 1 - step) % p], adds=True)
            for i in range(p)
        )


class Ring(ReduceScatter):
    """p-1 steps, in each of which every node sends one p-th of the vector to the next.

    Without other traffic on equal links it takes (p-1) latency + (p-1)/p * bytes/bandwidth.

    Source:
        Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
        J. Parallel Distrib. Comput. 69 (2009), section 3.
    """

    kind: Literal["ring"] = "ring"

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return p-1 messages of every node."""
        schedule = Schedule()
        add_messages(schedule, ranks, split(Piece(0, num_bytes), len(ranks)))
        return schedule.messages

    def flows(self, num_bytes: int, ranks: tuple[int, ...], network: Network) -> list[PointToPoint]:
        """Return one flow from each node to the next, where these don't meet."""
        p = len(ranks)
        if p == 1:
            return []
        pieces = split(Piece(0, num_bytes), p)
        flows = ring_flows(ranks, [num_bytes - own.num_bytes for own in pieces], p - 1)
        return flows if apart(flows, network) else self.messages(num_bytes, ranks, network)
