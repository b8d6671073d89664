"""Where places stand in a drawing of a network: x and y in any unit."""

import math
from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np

from simbench.network.routing import Place

Layout = dict[Place, tuple[float, float]]
_MOST_SPRINGS = 500
"""From here on networkx wants SciPy for it."""


def circle(places: Sequence[Place], radius: float = 1.0) -> Layout:
    """Return ``places`` clockwise around the origin, the first at the top."""
    return {
        place: _at(radius, index / len(places), (0.0, 0.0)) for index, place in enumerate(places)
    }


def tiers(rows: Sequence[Sequence[Place]]) -> Layout:
    """Return rows above each other, the first at the bottom, each as wide as the widest."""
    width = max(2.0, max(len(row) for row in rows) - 1.0)
    return {
        place: ((index + 0.5) / len(row) * width, height * width / 4)
        for height, row in enumerate(rows)
        for index, place in enumerate(row)
    }


def clusters(
    members: Mapping[Place, Sequence[Place]],
    centre: Place | None = None,
    beside: Sequence[Place] = (),
) -> Layout:
    """Return hubs on a circle and around each hub, away from the centre, its members.

    What stands ``beside`` the centre has its place between the ways to the hubs.
    """
    hubs = list(members)
    largest = max(len(each) for each in members.values())
    reach = 0.9 if len(hubs) < 3 else min(0.9, 1.9 * math.sin(math.pi / len(hubs)))
    # One alone stands in the middle; of two, left and right look better than above each other.
    turn = -0.25 if len(hubs) == 2 else 0.0
    alone = len(hubs) == 1 and centre is None
    layout: Layout = {} if centre is None else {centre: (0.0, 0.0)}
    for index, hub in enumerate(hubs):
        angle = index / len(hubs) + turn
        here = (0.0, 0.0) if alone else _at(1.0, angle, (0.0, 0.0))
        layout[hub] = here
        spread = min(0.62, 0.09 * largest)
        for position, member in enumerate(members[hub]):
            share = (position + 0.5) / len(members[hub]) - 0.5
            step = position / len(members[hub]) if alone else share * spread
            layout[member] = _at(reach * 0.62, angle + step, here)
    for index, place in enumerate(beside):
        layout[place] = _at(0.5, (index - 0.5) / len(hubs) + turn, (0.0, 0.0))
    return layout


def springs(links: Sequence[tuple[Place, Place]], lone: Sequence[Place]) -> Layout:
    """Return places as springs between them settle, turned so that the longest way lies flat."""
    graph = nx.Graph(links)
    graph.add_nodes_from(lone)
    if len(graph) >= _MOST_SPRINGS:
        return circle(list(graph))
    settled = nx.spring_layout(graph, seed=0, iterations=200)
    points = np.array(list(settled.values()))
    _, _, axes = np.linalg.svd(points - points.mean(axis=0))
    return {
        place: (float(x), float(y)) for place, (x, y) in zip(settled, points @ axes.T, strict=True)
    }


def _at(radius: float, turn: float, centre: tuple[float, float]) -> tuple[float, float]:
    """Return the point that lies ``turn`` of a full turn clockwise from above ``centre``."""
    angle = 2 * math.pi * turn
    return centre[0] + radius * math.sin(angle), centre[1] + radius * math.cos(angle)
