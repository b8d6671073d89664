"""Sums up a tree and copies down it, in segments that follow each other as in a pipeline.

Between two nodes a segment starts when the one before it has arrived. Whether a node talks to
several of its children at once is the tree's choice. Trees work side by side.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from simbench.network.collective import PointToPoint
from simbench.network.schedule import Piece, split

_MOST_SEGMENTS = 64
"""What more of them would gain is small; what they cost to simulate isn't."""


@dataclass(frozen=True)
class Tree:
    """Who passes on what to whom."""

    root: int
    children: dict[int, tuple[int, ...]]
    """Rank -> its children, in the order in which it sends to them; none where it has none."""
    in_turn: bool
    """Whether a node sends to one child after the other, and receives from them so."""

    def downwards(self) -> list[tuple[int, int]]:
        """Return every (parent, child), level by level."""
        level, edges = [self.root], []
        while level:
            here = [(rank, child) for rank in level for child in self.children.get(rank, ())]
            level = [child for _, child in here]
            edges += here
        return edges


def binomial(ranks: Sequence[int]) -> Tree:
    """Return the tree of ceil(lg p) levels in which whoever has something sends in every round."""
    p = len(ranks)
    children = {}
    for i, rank in enumerate(ranks):
        reach = i & -i if i else 1 << (p - 1).bit_length()
        steps = [1 << bit for bit in reversed(range(reach.bit_length() - 1))]
        children[rank] = tuple(ranks[i + step] for step in steps if i + step < p)
    return Tree(ranks[0], children, in_turn=True)


def chain(ranks: Sequence[int]) -> Tree:
    """Return the tree in which everybody has one child at most."""
    return Tree(ranks[0], {a: (b,) for a, b in itertools.pairwise(ranks)}, in_turn=True)


def segments(piece: Piece, segment_bytes: int | None) -> list[Piece]:
    """Return ``piece`` in as few equal segments as are no larger; 64 at most; None: one."""
    if segment_bytes is None or not piece.num_bytes:
        return [piece]
    return split(piece, min(_MOST_SEGMENTS, -(-piece.num_bytes // segment_bytes)))


Arrivals = list[tuple[int, ...]]
"""For each segment, the messages with which the root has got all of it."""


def add_up(messages: list[PointToPoint], tree: Tree, parts: Sequence[Piece]) -> Arrivals:
    """Add messages that sum ``parts`` up to the root of ``tree``."""
    edges = tree.downwards()[::-1]
    sent: dict[int, int] = {}
    came: dict[int, int] = {}
    whole: Arrivals = []
    for part in parts:
        got: dict[int, list[int]] = {}
        for parent, child in edges:
            after = {*got.get(child, ())}
            if child in sent:
                after.add(sent[child])
            if tree.in_turn and parent in came:
                after.add(came[parent])
            sent[child] = came[parent] = len(messages)
            got.setdefault(parent, []).append(len(messages))
            messages.append(_message(child, parent, part, after, adds=True))
        whole.append(tuple(got.get(tree.root, ())))
    return whole


def copy_down(
    messages: list[PointToPoint],
    tree: Tree,
    parts: Sequence[Piece],
    whole: Arrivals | None = None,
) -> None:
    """Add messages that copy ``parts`` from the root of ``tree`` to everybody.

    Args:
        messages: where they are added.
        tree: whose root has everything, at first or once ``whole`` has arrived.
        parts: the segments.
        whole: for each segment, what the root waits for.
    """
    edges = tree.downwards()
    sent: dict[tuple[int, int | None], int] = {}
    for number, part in enumerate(parts):
        got = {tree.root: whole[number] if whole else ()}
        for parent, child in edges:
            after = {*got[parent]}
            before = (parent, None if tree.in_turn else child)
            if before in sent:
                after.add(sent[before])
            sent[before] = len(messages)
            got[child] = (len(messages),)
            messages.append(_message(parent, child, part, after, adds=False))


def _message(
    sender: int, receiver: int, part: Piece, after: set[int], *, adds: bool
) -> PointToPoint:
    return PointToPoint(sender, receiver, part.num_bytes, tuple(sorted(after)), part.begin, adds)
