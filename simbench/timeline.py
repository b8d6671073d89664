"""Where a node's time went: spans that tile it, made from stretches of work and messages."""

import itertools
import operator
from collections.abc import Iterable, Iterator

from simbench.records import Message, Span

_WORK, _OUT, _IN, _DOWN = 0, 1, 2, 3


def spans(
    num_nodes: int,
    work: Iterable[tuple[int, int, int]],
    messages: Iterable[Message],
    end_ns: int,
    *,
    down: Iterable[tuple[int, int, int]] = (),
    standstills: Iterable[tuple[int, int, int, int]] = (),
) -> Iterator[Span]:
    """Yield, node by node, spans from 0 to ``end_ns`` without gap or overlap.

    A node that is down is nothing else. One that computes is computing, whatever else goes on; one
    that doesn't sends, receives or does both while bytes of its own are on their way; else it
    waits.

    Args:
        num_nodes: how many nodes there are.
        work: (rank, start_ns, end_ns) of each stretch of computing.
        messages: those sent; one that hasn't arrived is on its way until the end.
        end_ns: where the tiling ends; what lies behind is cut off.
        down: (rank, start_ns, end_ns) of each stretch in which a node is down.
        standstills: (sender, receiver, start_ns, end_ns) of each stretch in which a message has no
            way, and so isn't being sent.
    """
    changes = _changes(num_nodes, work, messages, end_ns, down, standstills)
    for rank, moments in enumerate(changes):
        counts = [0, 0, 0, 0]
        since_ns, doing = 0, "wait"
        for at_ns, together in itertools.groupby(sorted(moments), key=operator.itemgetter(0)):
            for _, what, change in together:
                counts[what] += change
            if _name(*counts) != doing:
                if at_ns > since_ns:
                    yield Span("", 0, rank, doing, since_ns, at_ns)
                since_ns, doing = at_ns, _name(*counts)
        if end_ns > since_ns:
            yield Span("", 0, rank, doing, since_ns, end_ns)


def _changes(
    num_nodes: int,
    work: Iterable[tuple[int, int, int]],
    messages: Iterable[Message],
    end_ns: int,
    down: Iterable[tuple[int, int, int]],
    standstills: Iterable[tuple[int, int, int, int]],
) -> list[list[tuple[int, int, int]]]:
    """Return for each node when it begins (+1) and ends (-1) to do what: (at_ns, what, change)."""
    changes: list[list[tuple[int, int, int]]] = [[] for _ in range(num_nodes)]

    def add(rank: int, what: int, start_ns: int, stop_ns: int | None, one: int = 1) -> None:
        stop_ns = end_ns if stop_ns is None else min(stop_ns, end_ns)
        if start_ns < stop_ns:
            changes[rank] += [(start_ns, what, one), (stop_ns, what, -one)]

    for rank, start_ns, stop_ns in work:
        add(rank, _WORK, start_ns, stop_ns)
    for message in messages:
        if message.sender != message.receiver:
            add(message.sender, _OUT, message.sent_ns, message.arrived_ns)
            add(message.receiver, _IN, message.sent_ns, message.arrived_ns)
    for rank, start_ns, stop_ns in down:
        add(rank, _DOWN, start_ns, stop_ns)
    for sender, receiver, start_ns, stop_ns in standstills:
        if sender != receiver:
            add(sender, _OUT, start_ns, stop_ns, -1)
            add(receiver, _IN, start_ns, stop_ns, -1)
    return changes


def _name(work: int, out: int, in_: int, down: int) -> str:
    if down:
        return "down"
    if work:
        return "compute"
    if out and in_:
        return "send+receive"
    if out:
        return "send"
    return "receive" if in_ else "wait"
