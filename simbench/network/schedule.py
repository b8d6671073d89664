"""Writing a collective down as rounds of messages."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from simbench.network.collective import PointToPoint


class Piece(NamedTuple):
    """Some bytes of a vector."""

    begin: int
    num_bytes: int


def split(piece: Piece, count: int) -> list[Piece]:
    """Return ``count`` pieces in order, which differ by no more than a byte.

    >>> split(Piece(0, 10), 3)
    [Piece(begin=0, num_bytes=3), Piece(begin=3, num_bytes=3), Piece(begin=6, num_bytes=4)]
    """
    edges = [piece.num_bytes * i // count for i in range(count + 1)]
    return [Piece(piece.begin + edges[i], edges[i + 1] - edges[i]) for i in range(count)]


def join(pieces: Sequence[Piece]) -> Piece:
    """Return the piece that neighbours form."""
    return Piece(pieces[0].begin, sum(piece.num_bytes for piece in pieces))


class Transfer(NamedTuple):
    """A message of a round."""

    sender: int
    receiver: int
    piece: Piece
    adds: bool


class Schedule:
    """Messages in rounds: one starts when both ends have done their part of earlier rounds.

    Nodes that have nothing to do in a round pass it over, so rounds aren't barriers. That the
    receiver is ready costs nothing to tell, as in the textbooks' model of a synchronous send.
    """

    def __init__(self) -> None:
        self.messages: list[PointToPoint] = []
        self._last: dict[int, tuple[int, ...]] = {}

    def add(self, transfers: Iterable[Transfer], hops_in_turn: int = 1) -> None:
        """Add a round of messages, or of flows that stand for ``hops_in_turn`` messages each."""
        parts: dict[int, list[int]] = {}
        for sender, receiver, (begin, num_bytes), adds in transfers:
            index = len(self.messages)
            for rank in (sender, receiver):
                parts.setdefault(rank, []).append(index)
            after = {*self._last.get(sender, ()), *self._last.get(receiver, ())}
            self.messages.append(
                PointToPoint(
                    sender, receiver, num_bytes, tuple(sorted(after)), begin, adds, hops_in_turn
                )
            )
        self._last |= {rank: tuple(indices) for rank, indices in parts.items()}
