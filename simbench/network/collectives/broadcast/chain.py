"""Broadcast along a chain, in segments."""

from typing import Literal

from simbench.network.collective import Broadcast, PointToPoint
from simbench.network.schedule import Piece
from simbench.network.topology import Network
from simbench.network.tree import chain, copy_down, segments
from simbench.units import Bytes


class Chain(Broadcast):
    """Every node passes on to the next what it gets, segment by segment.

    Without other traffic on equal links, k segments take (p-2+k) (latency + bytes/(k bandwidth)).

    Source:
        Chan, Heimlich, Purkayastha, van de Geijn, "Collective communication: theory, practice,
        and experience", Concurrency Computat.: Pract. Exper. 19 (2007) (pipelined algorithms).
    """

    kind: Literal["chain"] = "chain"
    segment: Bytes | None = 2**17
    """Size of the segments that are passed on one by one, 64 at most; none: the whole at once."""

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return one message of each segment to every node but the first."""
        messages: list[PointToPoint] = []
        copy_down(messages, chain(ranks), segments(Piece(0, num_bytes), self.segment))
        return messages
