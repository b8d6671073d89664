"""What a drawing of a large network shows: neighbouring nodes as one mark."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Place = int | str
_MOST_NODES = 64
"""Above this, nodes that hang on one switch are bundled."""
_BUNDLES = 32


class LinkUse(NamedTuple):
    """One direction of a cable, and how much of it was used."""

    tail: Place
    head: Place
    rate_bps: int
    share: float
    """Bits carried over what it could have carried until the end."""


class Bundle(NamedTuple):
    """Nodes of consecutive places on one switch, drawn as one."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}\N{EN DASH}{self.last}"


class View(NamedTuple):
    """What is drawn."""

    positions: dict[Place | Bundle, tuple[float, float]]
    uses: list[LinkUse]
    """Of links to bundles the busiest each way; their places may be bundles."""


def bundle_nodes(
    uses: Sequence[LinkUse], positions: Mapping[Place, tuple[float, float]], num_workers: int
) -> View:
    """Return few enough marks to tell them apart.

    Workers that hang on one switch become bundles, if there are many; nodes that pass messages on
    and servers never do.
    """
    there = {place for use in uses for place in (use.tail, use.head)}
    shown = {place: at for place, at in positions.items() if place in there or not uses}
    bundles = _bundles(uses, num_workers) if len(shown) > _MOST_NODES else {}
    members: dict[Place | Bundle, list[tuple[float, float]]] = {}
    for place, at in shown.items():
        members.setdefault(bundles.get(place, place), []).append(at)
    busiest: dict[tuple[Place | Bundle, Place | Bundle], LinkUse] = {}
    single: list[LinkUse] = []
    for use in uses:
        ends = bundles.get(use.tail, use.tail), bundles.get(use.head, use.head)
        if ends == (use.tail, use.head):
            single.append(use)
        elif ends not in busiest or use.share > busiest[ends].share:
            busiest[ends] = LinkUse(*ends, use.rate_bps, use.share)  # type: ignore[arg-type]
    return View({place: _middle(at) for place, at in members.items()}, [*single, *busiest.values()])


def _bundles(uses: Sequence[LinkUse], num_workers: int) -> dict[Place | Bundle, Bundle]:
    """Return the bundle of every node that is in one."""
    ends: dict[int, set[Place]] = {}
    for use in uses:
        for one, other in ((use.tail, use.head), (use.head, use.tail)):
            if isinstance(one, int) and one < num_workers:
                ends.setdefault(one, set()).add(other)
    hanging: dict[str, list[int]] = {}
    for node in sorted(ends):
        (other, *more) = ends[node]
        if isinstance(other, str) and not more:
            hanging.setdefault(other, []).append(node)
    bundles: dict[Place | Bundle, Bundle] = {}
    for nodes in hanging.values():
        num_parts = max(1, _BUNDLES // len(hanging))
        size = -(-len(nodes) // num_parts)
        for start in range(0, len(nodes), size):
            part = nodes[start : start + size]
            if len(part) > 1:
                bundles.update(dict.fromkeys(part, Bundle(part[0], part[-1])))
    return bundles


def _middle(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    xs, ys = zip(*points, strict=True)
    return sum(xs) / len(xs), sum(ys) / len(ys)
