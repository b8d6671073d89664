"""All-reduce by a reduce up a binomial tree, then a broadcast down the same tree."""

from typing import Literal

from simbench.network.collective import AllReduce, PointToPoint
from simbench.network.schedule import Piece
from simbench.network.topology import Network
from simbench.network.tree import add_up, binomial, copy_down, segments
from simbench.units import Bytes


class Binomial(AllReduce):
    """One node adds up what the others bring, in pairs, and the sum goes back the same way.

    Without other traffic on equal links it takes 2 ceil(lg p) (latency + bytes/bandwidth).

    Source:
        Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in
        MPICH", Int. J. High Perform. Comput. Appl. 19 (2005), on reduce and broadcast.
    """

    kind: Literal["binomial"] = "binomial"
    segment: Bytes | None = None
    """Size of the segments that are passed on one by one, 64 at most; none: the whole at once."""

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return two messages of each segment for every node but the first."""
        messages: list[PointToPoint] = []
        parts, tree = segments(Piece(0, num_bytes), self.segment), binomial(ranks)
        copy_down(messages, tree, parts, add_up(messages, tree, parts))
        return messages
