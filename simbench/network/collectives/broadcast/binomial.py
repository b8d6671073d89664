"""Broadcast down a binomial tree."""

from typing import Literal

from pydantic import model_validator

from simbench.network import gloo
from simbench.network.collective import Broadcast, PointToPoint
from simbench.network.schedule import Piece
from simbench.network.topology import Network
from simbench.network.tree import binomial, copy_down, segments
from simbench.spec import misfit
from simbench.units import Bytes


class Binomial(Broadcast):
    """Whoever has the vector sends it on, to one more node in every step.

    Without other traffic on equal links it takes ceil(lg p) (latency + bytes/bandwidth).

    Source:
        Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in
        MPICH", Int. J. High Perform. Comput. Appl. 19 (2005), on broadcast.
    """

    kind: Literal["binomial"] = "binomial"
    implementation: Literal["textbook", "gloo"] = "textbook"
    """``gloo`` does as that library does: see ``simbench.network.gloo``."""
    segment: Bytes | None = None
    """Size of the segments that are passed on one by one, 64 at most; none: the whole at once."""

    @model_validator(mode="after")
    def _gloo_sends_the_whole(self) -> "Binomial":
        if self.implementation == "gloo" and self.segment is not None:
            raise misfit(("segment",), "gloo sends the whole at once; leave it out")
        return self

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return one message of each segment to every node but the first."""
        if self.implementation == "gloo":
            return gloo.broadcast(num_bytes, ranks)
        messages: list[PointToPoint] = []
        copy_down(messages, binomial(ranks), segments(Piece(0, num_bytes), self.segment))
        return messages
