"""All-reduce on two binary trees at once, each with half of the vector."""

from collections.abc import Sequence
from typing import Literal

from simbench.network.collective import AllReduce, PointToPoint
from simbench.network.schedule import Piece, split
from simbench.network.topology import Network
from simbench.network.tree import Tree, add_up, copy_down, segments
from simbench.units import Bytes


class DoubleBinaryTree(AllReduce):
    """Segments flow up and down two trees; who has children in one has none in the other.

    So everybody's link is used both ways all the time, and the latencies of a tree are few. Large
    vectors take little more than 2 bytes/bandwidth without other traffic on equal links.

    Source:
        Sanders, Speck, Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and
        scan", Parallel Computing 35 (2009), section 2. The second tree is the first one mirrored
        for an even number of nodes, and shifted by one for an odd number (as in NCCL 2.4).
    """

    kind: Literal["double_binary_tree"] = "double_binary_tree"
    segment: Bytes | None = 2**17
    """Size of the segments that are passed on one by one, 64 at most; none: the whole at once."""

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return four messages of each pair of segments for every node but the roots."""
        messages: list[PointToPoint] = []
        halves = split(Piece(0, num_bytes), 2)
        for tree, half in zip(double_tree(ranks), halves, strict=True):
            parts = segments(half, self.segment)
            copy_down(messages, tree, parts, add_up(messages, tree, parts))
        return messages


def double_tree(ranks: Sequence[int]) -> tuple[Tree, Tree]:
    """Return two trees of logarithmic depth; only a root has children in both, if anybody."""
    # The first has children at even places only.
    even = len(ranks) % 2 == 0
    return _tree(ranks), _tree(ranks[::-1] if even else [*ranks[1:], ranks[0]])


def _tree(ranks: Sequence[int]) -> Tree:
    """Return a binary tree over ``ranks`` from left to right, whose leaves are at odd places.

    A place with b zeros at the end has its children 2^(b-1) away on both sides; a child to the
    right that would lie behind the end comes nearer until it doesn't.
    """
    p = len(ranks)
    top = 1 << (p - 1).bit_length()
    children: dict[int, tuple[int, ...]] = {ranks[0]: (ranks[top // 2],)} if p > 1 else {}
    for place in range(1, p):
        step = (place & -place) // 2
        found = [place - step] if step else []
        while step and place + step >= p:
            step //= 2
        if step:
            found.append(place + step)
        if found:
            children[ranks[place]] = tuple(ranks[each] for each in found)
    return Tree(ranks[0], children, in_turn=False)
