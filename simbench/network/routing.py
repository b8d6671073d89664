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
        self._choices: dict[tuple[int, int], dict[Place, list[int]] | None] = {}

    def route(self, sender: int, receiver: int, flow: int) -> tuple[int, ...] | None:
        """Return the links from ``sender`` to another node in turn; None where there is no way."""
        pair = sender, receiver
        if pair not in self._choices:
            self._choices[pair] = self.choices(sender, receiver)
        choices = self._choices[pair]
        if choices is None:
            return None
        if all(len(links) == 1 for links in choices.values()):
            # The search needn't be kept where one path is all that it found.
            del self._choices[pair]
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
        ahead, behind = {sender: 0}, {receiver: 0}
        front, back = [sender], [receiver]
        front_depth = back_depth = 0
        meeting: list[Place] = [sender] if sender == receiver else []
        while not meeting:
            if not front or not back:
                return None
            if self._degree(self._leaving, front) <= self._degree(self._entering, back):
                front_depth += 1
                front = _next_level(front, front_depth, ahead, self._leaving, self._heads)
                meeting = [place for place in front if place in behind]
            else:
                back_depth += 1
                back = _next_level(back, back_depth, behind, self._entering, self._tails)
                meeting = [place for place in back if place in ahead]
        # A shortest path goes through a place where the searches met; from there it is followed
        # both ways, each step to a place that is one step nearer.
        choices: dict[Place, list[int]] = {}
        level = meeting
        for depth in range(front_depth - 1, -1, -1):
            onto = {link for place in level for link in self._entering[place]}
            used = sorted(link for link in onto if ahead.get(self._tails[link]) == depth)
            for link in used:
                choices.setdefault(self._tails[link], []).append(link)
            level = list(dict.fromkeys(self._tails[link] for link in used))
        level = meeting
        for depth in range(back_depth - 1, -1, -1):
            for place in level:
                choices[place] = [
                    link for link in self._leaving[place] if behind.get(self._heads[link]) == depth
                ]
            level = list(
                dict.fromkeys(self._heads[link] for place in level for link in choices[place])
            )
        return choices

    @staticmethod
    def _degree(links: dict[Place, list[int]], places: list[Place]) -> int:
        return sum(len(links.get(place, ())) for place in places)


def _next_level(
    level: list[Place],
    depth: int,
    seen: dict[Place, int],
    links: dict[Place, list[int]],
    ends: list[Place],
) -> list[Place]:
    """Return the places one link beyond ``level`` that are new, and note their ``depth``."""
    found = []
    for place in level:
        for link in links.get(place, ()):
            end = ends[link]
            if end not in seen:
                seen[end] = depth
                found.append(end)
    return found


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
