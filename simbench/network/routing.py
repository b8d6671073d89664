"""Links, and the shortest ways over them: as few links as possible, equal ones by a hash."""

from collections.abc import Sequence
from typing import NamedTuple

Place = int | str
"""What a cable ends at: the rank of a node, or the name of a switch."""


class Link(NamedTuple):
    """One direction of a cable."""

    tail: Place
    head: Place
    rate_bps: int
    latency_ns: int
    jitter_ns: int = 0
    """Mean of the exponential extra latency of each message."""
    loss: float = 0.0
    """Probability that a packet is lost."""
    burst_bytes: int = 0
    """What passes at once after an idle time: the depth of a token bucket."""


class ShortestPaths:
    """Shortest paths between pairs of nodes, found when they are asked for.

    A search goes from both ends until they meet, and always on where fewer links leave: the ways
    of a pair in a large star, tree or ring cost a few steps, not a look at every node.

    Equal-cost multi-path (ECMP): where several links begin a shortest path, a hash of sender,
    receiver, flow and hop chooses one, as switches choose by a hash of a connection's addresses
    and ports. All of a flow takes one way, and the choice isn't random.

    Source:
        Hopps, "Analysis of an Equal-Cost Multi-Path Algorithm", RFC 2992 (2000): modulo-N hash.
    """

    def __init__(self, links: Sequence[Link], down: frozenset[int] = frozenset()) -> None:
        """Look at ``links`` without those whose index is in ``down``."""
        self._heads = [link.head for link in links]
        self._tails = [link.tail for link in links]
        self._leaving: dict[Place, list[int]] = {}
        self._entering: dict[Place, list[int]] = {}
        for index, link in enumerate(links):
            if index not in down:
                self._leaving.setdefault(link.tail, []).append(index)
                self._entering.setdefault(link.head, []).append(index)

    def route(self, sender: int, receiver: int, flow: int) -> tuple[int, ...] | None:
        """Return the links from ``sender`` to another node in turn; None where there is no way."""
        choices = self.choices(sender, receiver)
        if choices is None:
            return None
        digest = _mix(_mix(_mix(sender) ^ receiver) ^ flow)
        route: list[int] = []
        here: Place = sender
        while here != receiver:
            links = choices[here]
            link = links[_mix(digest + len(route)) % len(links)]
            route.append(link)
            here = self._heads[link]
        return tuple(route)

    def choices(self, sender: Place, receiver: Place) -> dict[Place, list[int]] | None:
        """Return the links that go on a shortest path from every place on one; None without any."""
        ahead, behind = _Search(sender), _Search(receiver)
        meeting: list[Place] = [sender] if sender == receiver else []
        while not meeting:
            if not ahead.front or not behind.front:
                return None
            if self._degree(self._leaving, ahead) <= self._degree(self._entering, behind):
                ahead.advance(self._leaving, self._heads)
                meeting = [place for place in ahead.front if place in behind.depths]
            else:
                behind.advance(self._entering, self._tails)
                meeting = [place for place in behind.front if place in ahead.depths]
        # Every shortest path goes through a place where the searches met; from there, what either
        # search came by leads to its end.
        choices: dict[Place, list[int]] = {}
        level = meeting
        for _ in range(ahead.depth):
            used = sorted(link for place in level for link in ahead.came_by[place])
            for link in used:
                choices.setdefault(self._tails[link], []).append(link)
            level = list(dict.fromkeys(self._tails[link] for link in used))
        level = meeting
        for _ in range(behind.depth):
            for place in level:
                choices[place] = behind.came_by[place]
            used = [link for place in level for link in choices[place]]
            level = list(dict.fromkeys(self._heads[link] for link in used))
        return choices

    @staticmethod
    def _degree(links: dict[Place, list[int]], search: "_Search") -> int:
        return sum(len(links.get(place, ())) for place in search.front)


class _Search:
    """A breadth-first search, a level at a time."""

    def __init__(self, start: Place) -> None:
        self.depth = 0
        self.depths = {start: 0}
        self.came_by: dict[Place, list[int]] = {start: []}
        """The links by which a place was reached at its depth."""
        self.front = [start]

    def advance(self, links: dict[Place, list[int]], ends: list[Place]) -> None:
        """Look one link beyond the front."""
        self.depth += 1
        found = []
        for place in self.front:
            for link in links.get(place, ()):
                end = ends[link]
                depth = self.depths.setdefault(end, self.depth)
                if depth < self.depth:
                    continue
                if end not in self.came_by:
                    self.came_by[end] = []
                    found.append(end)
                self.came_by[end].append(link)
        self.front = found


def _mix(number: int) -> int:
    """Return 64 bits in which each bit of ``number`` has a say.

    Source:
        Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014
        (SplitMix64's finaliser).
    """
    number = (number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return number ^ (number >> 31)
