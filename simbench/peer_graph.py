"""What a graph of peers is: whom each node sends to in each round, and how much that counts.

It says who talks to whom, whatever the network between them looks like.
"""

import bisect
import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import ClassVar

from simbench.seeds import generator
from simbench.spec import Spec, misfit, within


class PeerGraph(Spec, ABC):
    """A choice of graph; its fields are the YAML keys.

    Rounds count from 0. A graph that changes comes back to its first round after ``period`` ones.
    """

    kind: str

    fits_any_number: ClassVar[bool] = True
    """Whether it is a graph of any number of nodes, and not of some alone."""

    @abstractmethod
    def peers(self, rank: int, num_nodes: int, step: int) -> Collection[int]:
        """Return to whom ``rank`` sends in round ``step`` of ``num_nodes``; itself doesn't count.

        Raises:
            ValidationError: it can't be built for ``num_nodes``; made by ``spec.misfit``.
        """

    def period(self, num_nodes: int) -> int:
        """Return after how many rounds it is the same again."""
        return 1

    def round(self, num_nodes: int, step: int) -> "Round":
        """Return who sends to whom in round ``step``."""
        return _round(self, num_nodes, step % self.period(num_nodes))

    def among(self, members: Sequence[int], num_nodes: int, step: int) -> "Round":
        """Return round ``step`` among ``members`` of ``num_nodes``; others talk to nobody.

        It is the graph of as many nodes as there are members, in the order of ranks, where there is
        one for any number, or else what is left of that of all.
        """
        if len(members) == num_nodes:
            return self.round(num_nodes, step)
        sends: list[tuple[int, ...]] = [()] * num_nodes
        if self.fits_any_number:
            few = self.round(len(members), step)
            for place, rank in enumerate(members):
                sends[rank] = tuple(members[peer] for peer in few.sends[place])
        else:
            every = self.round(num_nodes, step)
            for rank in members:
                sends[rank] = tuple(peer for peer in every.sends[rank] if peer in members)
        return _rounds_among(tuple(sends))

    def number(self, rank: int, members: Sequence[int]) -> int:
        """Return as which of its nodes ``rank`` counts ``among`` ``members``."""
        if not self.fits_any_number or (rank < len(members) and members[rank] == rank):
            return rank
        return bisect.bisect_left(members, rank)

    def check(self, key: str, num_nodes: int) -> None:
        """Refuse what can't be built, and what keeps news of some node from another for ever.

        Args:
            key: the strategy's field that holds this graph.
            num_nodes: how many talk.

        Raises:
            ValidationError: it tells the key; made by ``spec.misfit``.
        """
        with within(key):
            rounds = [self.round(num_nodes, step) for step in range(self.period(num_nodes))]
        for backwards in (False, True):
            tables = [each.receives if backwards else each.sends for each in rounds]
            reached = distances(
                {rank: [p for table in tables for p in table[rank]] for rank in range(num_nodes)}
            )
            cut_off = next((rank for rank in range(num_nodes) if rank not in reached), None)
            if cut_off is not None:
                one, other = (cut_off, 0) if backwards else (0, cut_off)
                raise misfit((key,), f"node {other} never hears of node {one}, not even indirectly")


class Round:
    """One round of a graph: who sends to whom, and the weights with which nodes then mix."""

    def __init__(self, sends: tuple[tuple[int, ...], ...]) -> None:
        self.sends = sends
        """Per rank the ranks that it sends to, in ascending order, without itself."""
        receives: list[list[int]] = [[] for _ in sends]
        for sender, peers in enumerate(sends):
            for peer in peers:
                receives[peer].append(sender)
        self.receives = tuple(map(tuple, receives))
        """Per rank the ranks that it hears from, likewise."""

    @functools.cached_property
    def is_symmetric(self) -> bool:
        """Whether each sends to whom it hears from."""
        return self.sends == self.receives

    @functools.cached_property
    def can_average(self) -> bool:
        """Whether ``averaging`` has weights for it: symmetric, or as many in as out everywhere."""
        pairs = zip(self.sends, self.receives, strict=True)
        # Who talks to nobody takes no part.
        degrees = {len(peers) for pair in pairs if any(pair) for peers in pair}
        return self.is_symmetric or len(degrees) <= 1

    def averaging(self, rank: int, heard: Collection[int] | None = None) -> dict[int, float]:
        """Return with what weights ``rank`` mixes, by rank in ascending order, its own included.

        The weight of those that it hasn't ``heard`` of is its own: they have left. By default it
        has heard of all.

        All rows together are a doubly stochastic matrix W: Metropolis-Hastings weights, W_ij =
        1 / (1 + max(d_i, d_j)) for neighbours and what is left to 1 on the diagonal. Where all
        have d in and d out, each weight is 1 / (d + 1).

        Source:
            Xiao, Boyd, Lall, "A Scheme for Robust Distributed Sensor Fusion Based on Average
            Consensus", IPSN 2005 (Metropolis weights).
        """
        assert self.can_average, "no doubly stochastic weights are known for this graph"
        own = len(self.receives[rank])
        weights = {
            peer: Fraction(1, 1 + max(own, len(self.receives[peer])))
            for peer in self.receives[rank]
        }
        if heard is not None:
            weights = {peer: weight for peer, weight in weights.items() if peer in heard}
        weights[rank] = 1 - sum(weights.values(), Fraction(0))
        return {peer: float(weights[peer]) for peer in sorted(weights)}

    def share(self, rank: int) -> float:
        """Return what share of itself ``rank`` keeps, and gives to each that it sends to.

        All shares together are a column-stochastic matrix: every column has one value, 1 / (d + 1).
        """
        return 1 / (1 + len(self.sends[rank]))

    def matching(self, draw: int, most: int | None = None) -> Mapping[int, int]:
        """Return random pairs of neighbours, each node in one at most: rank -> its partner.

        Edges are gone through in random order, and one whose nodes are both free becomes a pair:
        the matching is maximal, unless that gives more than ``most`` pairs.

        Args:
            draw: names the random order: the same number, the same matching.
            most: pairs at most; as many as come about if None.
        """
        assert self.is_symmetric, "pairs want edges that go both ways"
        return _matching(self, draw, most)


@functools.lru_cache(maxsize=256)
def _round(graph: PeerGraph, num_nodes: int, step: int) -> Round:
    every = [set(graph.peers(rank, num_nodes, step)) - {rank} for rank in range(num_nodes)]
    return Round(tuple(tuple(sorted(peers)) for peers in every))


@functools.lru_cache(maxsize=256)
def _rounds_among(sends: tuple[tuple[int, ...], ...]) -> Round:
    return Round(sends)


# All nodes of a run ask for the same one.
@functools.lru_cache(maxsize=64)
def _matching(edges_of: Round, draw: int, most: int | None) -> Mapping[int, int]:
    edges = [(i, j) for i, peers in enumerate(edges_of.sends) for j in peers if i < j]
    pairs: dict[int, int] = {}
    for index in generator(draw, "matching", 0, 0).permutation(len(edges)):
        i, j = edges[index]
        if i not in pairs and j not in pairs:
            pairs |= {i: j, j: i}
            if most is not None and len(pairs) == 2 * most:
                break
    return pairs


def distances(peers: Mapping[int, Collection[int]]) -> dict[int, int]:
    """Return how many edges lead from node 0 to each that can be reached from it."""
    found = {0: 0}
    front = [0]
    for rank in front:
        for peer in peers[rank]:
            if peer not in found:
                found[peer] = found[rank] + 1
                front.append(peer)
    return found
