"""A graph of one's own."""

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt

from simbench.peer_graph import PeerGraph
from simbench.spec import misfit


class EdgesGraph(PeerGraph):
    """Nodes talk along the ``edges`` and no others."""

    kind: Literal["edges"] = "edges"
    edges: Annotated[tuple[tuple[NonNegativeInt, NonNegativeInt], ...], Field(min_length=1)] = (
        (0, 1),
    )
    """Pairs of ranks."""
    directed: bool = False
    """Whether only the first of a pair sends to the second."""

    fits_any_number: ClassVar[bool] = False

    def peers(self, rank: int, num_nodes: int, step: int) -> Collection[int]:
        """Return those at the other ends."""
        for index, edge in enumerate(self.edges):
            if max(edge) >= num_nodes:
                raise misfit(
                    ("edges", index),
                    f"node {max(edge)} doesn't exist: {num_nodes} nodes have the ranks "
                    f"0 to {num_nodes - 1}",
                )
        ahead = [head for tail, head in self.edges if tail == rank]
        return ahead if self.directed else ahead + [t for t, head in self.edges if head == rank]
