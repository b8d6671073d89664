"""Writing a collective down as rounds of messages."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
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


def pieces_of(sizes: Sequence[int]) -> list[Piece]:
    """Return pieces of these ``sizes``, one behind the other.

    >>> pieces_of([3, 0, 4])
    [Piece(begin=0, num_bytes=3), Piece(begin=3, num_bytes=0), Piece(begin=3, num_bytes=4)]
    """
    return [Piece(end - size, size) for size, end in zip(sizes, accumulate(sizes), strict=True)]


def join(pieces: Sequence[Piece]) -> Piece:
    """Return the piece that neighbours form."""
    return Piece(pieces[0].begin, sum(piece.num_bytes for piece in pieces))


def block(pieces: Sequence[Piece], place: int, size: int) -> Piece:
    """Return the block of ``size`` neighbours, counted from the first, in which ``place`` lies."""
    return join(pieces[place // size * size :][:size])


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


class Folded(NamedTuple):
    """How some ranks become a power of two: with r too many, the first 2r make pairs."""

    pairs: list[tuple[int, int]]
    """One who leaves what it has to the other, and gets the result in the end; the other."""
    active: list[int]
    """Who takes part in between, in order: the others of the pairs come first."""


def fold(ranks: Sequence[int]) -> Folded:
    """Return who of ``ranks`` takes part where a power of two must.

    >>> fold((0, 1, 2, 3, 4, 5))
    Folded(pairs=[(0, 1), (2, 3)], active=[1, 3, 4, 5])

    Source:
        Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in
        MPICH", Int. J. High Perform. Comput. Appl. 19 (2005), on all-reduce.
    """
    too_many = len(ranks) - (1 << len(ranks).bit_length() - 1)
    pairs = [(ranks[2 * i], ranks[2 * i + 1]) for i in range(too_many)]
    return Folded(pairs, [stays for _, stays in pairs] + list(ranks[2 * too_many :]))
