"""Links as users name them: by their two ends, or as all those of a node."""

from collections.abc import Sequence
from typing import NamedTuple

from simbench.nearest import hint, nearest
from simbench.network.routing import Link, Place

_MOST_NAMES = 12


class Cable(NamedTuple):
    """Links that are meant together: both directions between two places, or one of them."""

    name: str
    """``3 - switch``, or ``3 -> switch`` for one direction."""
    links: tuple[int, ...]
    """Indices into the topology's links."""


def cables(
    links: Sequence[Link],
    pairs: Sequence[tuple[Place, Place]],
    nodes: Sequence[int],
    *,
    one_way: bool = False,
) -> list[Cable]:
    """Return the cables between ``pairs`` and those of ``nodes``; all where neither is given.

    What ``links`` doesn't hold is passed over: a strategy without a server lacks its machine.

    >>> star = [Link(0, "switch", 1, 0), Link("switch", 0, 1, 0)]
    >>> cables(star, [(0, "switch")], [])
    [Cable(name='0 - switch', links=(0, 1))]
    """
    between: dict[tuple[Place, Place], list[int]] = {}
    for index, link in enumerate(links):
        between.setdefault((link.tail, link.head), []).append(index)
    if one_way:
        chosen = {pair: between.get(pair, []) for pair in dict.fromkeys(pairs)}
        found = [Cable(f"{a} -> {b}", tuple(each)) for (a, b), each in chosen.items()]
        return [cable for cable in found if cable.links] + cables_of(links, nodes)
    ends = [(link.tail, link.head) for link in links]
    if pairs or nodes:
        meant = {*pairs, *((b, a) for a, b in pairs)}
        ranks = set(nodes)
        ends = [(a, b) for a, b in ends if (a, b) in meant or a in ranks or b in ranks]
    found = []
    done: set[tuple[Place, Place]] = set()
    for a, b in ends:
        if (a, b) not in done:
            done |= {(a, b), (b, a)}
            found.append(Cable(f"{a} - {b}", (*between[a, b], *between.get((b, a), ()))))
    return found


def cables_of(links: Sequence[Link], nodes: Sequence[int]) -> list[Cable]:
    """Return the cables of ``nodes``; none where no node is given."""
    return cables(links, (), nodes) if nodes else []


def check_node(rank: int, num_nodes: int) -> None:
    """Refuse a rank that no node has.

    Raises:
        ValueError: it tells the ranks that there are.
    """
    if rank >= num_nodes:
        raise ValueError(
            f"node {rank} doesn't exist: {num_nodes} nodes, with servers on machines of their own, "
            f"have the ranks 0 to {num_nodes - 1}"
        )


def check_place(place: Place, links: Sequence[Link]) -> None:
    """Refuse a place that no link ends at.

    Raises:
        ValueError: it tells the nearest name, or those that there are.
    """
    places = list(dict.fromkeys(end for link in links for end in (link.tail, link.head)))
    if place in places:
        return
    near = nearest(place, map(str, places)) if isinstance(place, str) else []
    raise ValueError(f"no link ends at {place!r}; {hint(near)}(there are: {_listed(places)})")


def check_link(one: Place, other: Place, links: Sequence[Link]) -> None:
    """Refuse two places without a link from the one to the other.

    Raises:
        ValueError: it tells what has links instead.
    """
    for place in (one, other):
        check_place(place, links)
    if all((link.tail, link.head) != (one, other) for link in links):
        heads = list(dict.fromkeys(link.head for link in links if link.tail == one))
        raise ValueError(
            f"there is no link from {one!r} to {other!r}; from {one!r} links lead to "
            f"{_listed(heads)}"
        )


def _listed(places: Sequence[Place]) -> str:
    """Return switches by their names and nodes by their ranks, in a line."""
    switches = [str(place) for place in places if isinstance(place, str)]
    nodes = sorted(place for place in places if isinstance(place, int))
    whole = len(nodes) > 2 and nodes[-1] - nodes[0] == len(nodes) - 1
    ranks = [f"{nodes[0]} to {nodes[-1]}"] if whole else [str(node) for node in nodes]
    names = [*ranks, *switches]
    more = [f"and {len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return ", ".join(names[:_MOST_NAMES] + more)
