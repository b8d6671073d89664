"""How gloo does its collectives: segments, and messages that say that a receiver is ready.

A send waits until the receiver has said that it has a buffer for it. Around a ring, two segments
are under way at once: one is received while the one before is added up.

Source:
    gloo (github.com/pytorch/gloo), ``allreduce.cc`` (``ring``), ``reduce.cc``, ``allgather.cc``,
    ``broadcast.cc`` and ``transport/tcp/pair.cc``, as PyTorch 2.13 has them. PyTorch's
    reduce-scatter is an all-reduce of which each keeps its part.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

from simbench.network.collective import PointToPoint
from simbench.network.schedule import Piece

ELEMENT_BYTES = 4
SEGMENT_BYTES = 2**20
"""No segment of an all-reduce or a reduce is larger."""
HEADER_BYTES = 48
"""What goes before the data of a message; a ready message has nothing else."""

Known = list[tuple[int, ...]]
"""For each place in the ring, the messages whose arrival it has waited for."""


def all_reduce(num_bytes: int, ranks: Sequence[int]) -> list[PointToPoint]:
    """Return the messages of an all-reduce around a ring, from each to the one before it."""
    p = len(ranks)
    messages: list[PointToPoint] = []
    if p == 1:
        return messages
    count = _round_up(max(-(-num_bytes // SEGMENT_BYTES), 2 * p), p)
    segments = _Segments(num_bytes, count, _round_up(-(-num_bytes // count), ELEMENT_BYTES), p)
    known: Known = [()] * p
    steps = count - segments.per_rank
    known = _around(
        messages, ranks, -1, steps, lambda i, k: segments.piece(i + 1, k), known, adds=True
    )
    _around(messages, ranks, -1, steps, segments.piece, known, adds=False)
    return messages


def reduce(num_bytes: int, ranks: Sequence[int]) -> list[PointToPoint]:
    """Return the messages of a reduce: around a ring, then everybody's part to the first.

    Above 2p segments more go around than need to: what the last ones bring is of no use.
    """
    p = len(ranks)
    messages: list[PointToPoint] = []
    if p == 1:
        return messages
    size = _round_up(min(-(-num_bytes // (2 * p)), SEGMENT_BYTES), ELEMENT_BYTES)
    count = _round_up(max(-(-num_bytes // size), 2 * p), p)
    segments = _Segments(num_bytes, count, size, p)
    known: Known = [()] * p
    steps = count - segments.per_rank
    known = _around(
        messages,
        ranks,
        -1,
        count - 2,
        lambda i, k: segments.piece(i + 1, k),
        known,
        adds=True,
        useful_steps=steps,
    )
    for i in range(1, p):
        chunk = segments.chunk(i)
        if chunk.num_bytes:
            ready = _add(messages, ranks[0], ranks[i], None, known[0])
            _add(messages, ranks[i], ranks[0], chunk, (*known[i], ready))
    return messages


def all_gather(sizes: Sequence[int], ranks: Sequence[int]) -> list[PointToPoint]:
    """Return the messages of an all-gather around a ring, each part in two halves."""
    p = len(ranks)
    messages: list[PointToPoint] = []
    edges = [0, *accumulate(sizes)]

    def half(i: int, k: int) -> Piece:
        part = (i - k // 2) % p
        middle = (edges[part] + edges[part + 1]) // 2
        begin, end = (middle, edges[part + 1]) if k % 2 else (edges[part], middle)
        return Piece(begin, end - begin)

    if p > 1:
        _around(messages, ranks, 1, 2 * (p - 1), half, [()] * p, adds=False)
    return messages


def broadcast(num_bytes: int, ranks: Sequence[int]) -> list[PointToPoint]:
    """Return the messages of a broadcast down a binomial tree, where nobody serves in turn."""
    p = len(ranks)
    messages: list[PointToPoint] = []
    got: dict[int, tuple[int, ...]] = {0: ()}
    for bit in range((p - 1).bit_length()):
        for i in range(min(1 << bit, p - (1 << bit))):
            child = i | 1 << bit
            ready = _add(messages, ranks[child], ranks[i], None, ())
            whole = Piece(0, num_bytes)
            got[child] = (_add(messages, ranks[i], ranks[child], whole, (*got[i], ready)),)
    return messages


def with_ready(messages: Sequence[PointToPoint]) -> list[PointToPoint]:
    """Return ``messages`` of other algorithms as gloo sends them: once the receiver is ready."""
    sent: list[PointToPoint] = []
    place: list[int] = []
    for message in messages:
        seen: dict[int, list[int]] = {message.sender: [], message.receiver: []}
        for other in message.after:
            for rank, known in seen.items():
                if rank in (messages[other].sender, messages[other].receiver):
                    known.append(place[other])
        after_receiver = tuple(seen[message.receiver])
        ready = _add(sent, message.receiver, message.sender, None, after_receiver)
        place.append(len(sent))
        after_sender = (*sorted(seen[message.sender]), ready)
        sent.append(message._replace(after=after_sender, extra_bytes=HEADER_BYTES))
    return sent


class _Segments:
    """A vector cut into equal segments, as many for each rank; the last ones may be empty."""

    def __init__(self, num_bytes: int, count: int, size: int, p: int) -> None:
        self._num_bytes = num_bytes
        self._count = count
        self._size = size
        self.per_rank = count // p

    def piece(self, i: int, k: int) -> Piece:
        """Return the segment that comes ``k`` after the first of rank ``i``."""
        return self._cut((i * self.per_rank + k) % self._count, 1)

    def chunk(self, i: int) -> Piece:
        """Return all segments of rank ``i``."""
        return self._cut(i * self.per_rank, self.per_rank)

    def _cut(self, first: int, count: int) -> Piece:
        begin = min(first * self._size, self._num_bytes)
        return Piece(begin, min(count * self._size, self._num_bytes - begin))


def _around(
    messages: list[PointToPoint],
    ranks: Sequence[int],
    direction: int,
    steps: int,
    piece: Callable[[int, int], Piece],
    known: Known,
    *,
    adds: bool,
    useful_steps: int | None = None,
) -> Known:
    """Add ``steps`` around a ring, two of which are under way at once; return what is known then.

    Before a node posts a receive and a send, those of two steps before must have ended: something
    has been received, and its receiver has been ready for what was sent, which the kernel took.

    Args:
        messages: what they are added to.
        ranks: who stands where in the ring.
        direction: 1 if each sends to the next, -1 if to the one before.
        steps: how many.
        piece: what the node at a place sends in a step; empty if it sends nothing.
        known: what each has waited for before; its first two steps wait for nothing else.
        adds: whether what comes is added up.
        useful_steps: after so many, what is sent is of no use to anybody; None: all are useful.
    """
    p = len(ranks)
    source = [(i - direction) % p for i in range(p)]
    target = [(i + direction) % p for i in range(p)]
    # What each knows when a step begins, for those two steps ahead as well.
    begun = [known, known]
    for k in range(steps):
        pieces = [piece(i, k) for i in range(p)]
        sends = [i for i in range(p) if pieces[i].num_bytes]
        ready = {
            i: _add(messages, ranks[i], ranks[source[i]], None, begun[k][i])
            for i in range(p)
            if source[i] in sends
        }
        data = {}
        for i in sends:
            after = (*begun[k][i], ready[target[i]])
            data[i] = _add(messages, ranks[i], ranks[target[i]], pieces[i], after, adds=adds)
            if useful_steps is not None and k >= useful_steps:
                messages[-1] = _useless(messages[-1])
        begun.append(
            [
                # With what came a step before, too: messages may overtake each other.
                _and_then(begun[-1][i], data.get(source[i]), ready.get(target[i]))
                for i in range(p)
            ]
        )
    return begun[-1]


def _and_then(before: tuple[int, ...], *news: int | None) -> tuple[int, ...]:
    """Return what a node has waited for once a step has ended: its messages, and the last ones."""
    came = [each for each in news if each is not None]
    return (*before[-2:], *came) if came else before


def _add(
    messages: list[PointToPoint],
    sender: int,
    receiver: int,
    piece: Piece | None,
    after: tuple[int, ...],
    *,
    adds: bool = False,
) -> int:
    """Add a message, a ready one if there is no ``piece``; return its index."""
    begin, num_bytes = piece or (0, 0)
    known = tuple(sorted(dict.fromkeys(after)))
    messages.append(
        PointToPoint(sender, receiver, num_bytes, known, begin, adds, extra_bytes=HEADER_BYTES)
    )
    return len(messages) - 1


def _useless(message: PointToPoint) -> PointToPoint:
    """Return a message of the same size that carries nothing of the vector."""
    extra_bytes = message.extra_bytes + message.num_bytes
    return message._replace(num_bytes=0, extra_bytes=extra_bytes, adds=False)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
