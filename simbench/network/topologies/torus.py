"""Nodes in a grid of two or three dimensions whose opposite edges are joined."""

import itertools
import math
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from simbench.network.cabling import DirectTopology
from simbench.network.layouts import Layout
from simbench.network.routing import Link
from simbench.spec import misfit


class Torus(DirectTopology):
    """Ranks fill the grid with the last dimension first: node (x, y) of 4 x 2 has rank 2x + y.

    A dimension of length 2 has one cable between its two nodes, not two. Servers on machines of
    their own hang on the first nodes, one on each, by a cable like the others.
    """

    kind: Literal["torus"] = "torus"
    dims: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=3)] = (4, 2)
    """Nodes along each dimension; their product is the number of workers."""

    def check(self, num_workers: int, num_servers: int) -> None:
        """Refuse dimensions that make another number of nodes."""
        if self.size != num_workers:
            product = " x ".join(map(str, self.dims))
            raise misfit(
                ("dims",),
                f"{product} makes {self.size} nodes; the cluster has {num_workers}",
            )

    @property
    def size(self) -> int:
        """Nodes in the grid."""
        return math.prod(self.dims)

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return forth and back of the cables along the first dimension, then the next."""
        cables: list[Link] = []
        for axis, length in enumerate(self.dims):
            if length == 1:
                continue
            for place in itertools.product(*map(range, self.dims)):
                if length == 2 and place[axis] == 1:
                    continue
                after = list(place)
                after[axis] = (place[axis] + 1) % length
                cables += self.cable(self.rank(place), self.rank(after))
        for server in range(self.size, num_nodes):
            cables += self.cable((server - self.size) % self.size, server)
        return tuple(cables)

    def rank(self, place: tuple[int, ...] | list[int]) -> int:
        """Return the rank of the node at ``place``."""
        rank = 0
        for length, position in zip(self.dims, place, strict=True):
            rank = rank * length + position
        return rank

    def layout(self, num_nodes: int) -> Layout:
        """Return a grid, the first dimension to the right and the last upwards.

        A third dimension goes aslant. The grid is bent a little, so that the cables which join
        opposite edges don't lie on the others.
        """
        layout: Layout = {}
        for place in itertools.product(*map(range, self.dims)):
            x, y = float(place[0]), float(place[-1])
            depth = float(place[1]) if len(place) == 3 else 0.0
            bulge_x, bulge_y = _bulge(y, self.dims[-1]), _bulge(x, self.dims[0])
            layout[self.rank(place)] = (x + bulge_x + 0.37 * depth, y + bulge_y + 0.29 * depth)
        for server in range(self.size, num_nodes):
            x, y = layout[(server - self.size) % self.size]
            layout[server] = (x - 0.7, y - 0.7)
        return layout


def _bulge(position: float, length: int) -> float:
    """Return how far a line of ``length`` places bends at ``position``: most in the middle."""
    return 0.25 * (1 - (2 * position / (length - 1) - 1) ** 2) if length > 2 else 0.0
