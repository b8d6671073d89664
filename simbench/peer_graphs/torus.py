"""Nodes in a grid whose opposite edges are joined."""

import math
from collections.abc import Collection
from typing import ClassVar, Literal

from pydantic import PositiveInt

from simbench.peer_graph import PeerGraph
from simbench.spec import misfit


class TorusGraph(PeerGraph):
    """Ranks fill a grid row by row; each node talks to those left, right, above and below."""

    kind: Literal["torus"] = "torus"
    rows: PositiveInt | None = None
    """Rows of the grid; by default the largest divisor of N that isn't above its square root."""

    fits_any_number: ClassVar[bool] = False

    def peers(self, rank: int, num_nodes: int, step: int) -> Collection[int]:
        """Return the neighbours in the grid; a row or column of two joins them once."""
        rows = self._rows(num_nodes)
        columns = num_nodes // rows
        row, column = divmod(rank, columns)
        beside = [row * columns + (column + way) % columns for way in (-1, 1)]
        return [*beside, *((row + way) % rows * columns + column for way in (-1, 1))]

    def _rows(self, num_nodes: int) -> int:
        if self.rows is None:
            return next(n for n in range(math.isqrt(num_nodes), 0, -1) if num_nodes % n == 0)
        if num_nodes % self.rows:
            raise misfit(("rows",), f"{num_nodes} nodes don't fill {self.rows} equal rows")
        return self.rows
