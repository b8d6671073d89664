"""All-reduce inside islands, between them, and inside again."""

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from types import ModuleType
from typing import Literal, NamedTuple

from pydantic import PositiveInt

from simbench.network.collective import AllReduce, PointToPoint
from simbench.network.collectives.all_gather import ring as all_gather
from simbench.network.collectives.reduce_scatter import ring as reduce_scatter
from simbench.network.merged import are_alike, ring_pairs
from simbench.network.schedule import Piece, Schedule, Transfer, join, split
from simbench.network.topology import Network


class _Ring(NamedTuple):
    """Some nodes in a ring, and what each has the sum of after a reduce-scatter."""

    ranks: Sequence[int]
    pieces: list[Piece]


class Hierarchical(AllReduce):
    """Reduce-scatter inside each island, all-reduce between their equals, all-gather inside.

    All by rings. With g nodes in each of m islands and without other traffic on equal links it
    takes 2(g-1 + m-1) latency + 2(p-1)/p * bytes/bandwidth, of which between islands 2(m-1) latency
    + 2(m-1)/p * bytes/bandwidth. In islands smaller than the largest, nodes stand for several.

    Source:
        Mikami et al., "Massively Distributed SGD: ImageNet/ResNet-50 Training in a Flash", 2018,
        arXiv:1811.05233, section 3.2 (2D-torus all-reduce, whose rows are islands).
    """

    kind: Literal["hierarchical"] = "hierarchical"
    island: PositiveInt | None = None
    """Nodes of an island: the first so many ranks are one, the next another, and so on. None: those
    on one switch are an island."""

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return the messages of all rings."""
        inside, between = self._rings(num_bytes, ranks, network)
        schedule = Schedule()
        for rings, half in _phases(inside, between):
            _add(schedule, [half.rounds(*ring) for ring in rings])
        return schedule.messages

    def flows(self, num_bytes: int, ranks: tuple[int, ...], network: Network) -> list[PointToPoint]:
        """Return a flow from node to node of each ring, where all islands keep step."""
        inside, between = self._rings(num_bytes, ranks, network)
        if len({len(ring.ranks) for ring in inside}) > 1 or not all(
            are_alike([pair for ring in rings for pair in ring_pairs(ring.ranks)], network)
            for rings in (inside, between)
        ):
            return self.messages(num_bytes, ranks, network)
        schedule = Schedule()
        for rings, half in _phases(inside, between):
            for ring in rings:
                half.add_flows(schedule, *ring)
        return schedule.messages

    def _rings(
        self, num_bytes: int, ranks: Sequence[int], network: Network
    ) -> tuple[list[_Ring], list[_Ring]]:
        """Return the rings inside islands, and those between: one for each piece of the vector."""
        if self.island is None:
            islands = _on_switches(ranks, network)
        else:
            islands = [ranks[i : i + self.island] for i in range(0, len(ranks), self.island)]
        pieces = split(Piece(0, num_bytes), max(map(len, islands)))
        inside, owners = [], []
        for island in islands:
            g = len(island)
            edges = [len(pieces) * i // g for i in range(g + 1)]
            owned = [pieces[edges[i] : edges[i + 1]] for i in range(g)]
            inside.append(_Ring(island, [join(each) for each in owned]))
            owners.append([rank for i, rank in enumerate(island) for _ in owned[i]])
        between = [
            _Ring(equals, split(piece, len(islands)))
            for equals, piece in zip(zip(*owners, strict=True), pieces, strict=True)
        ]
        return inside, between


def _on_switches(ranks: Sequence[int], network: Network) -> list[Sequence[int]]:
    """Return ``ranks`` by the first switch that they have a link to; alone where there is none."""
    switches = {
        link.tail: link.head for link in reversed(network.links) if isinstance(link.head, str)
    }
    islands: dict[int | str, list[int]] = {}
    for rank in ranks:
        islands.setdefault(switches.get(rank, rank), []).append(rank)
    return list(islands.values())


def _phases(inside: list[_Ring], between: list[_Ring]) -> list[tuple[list[_Ring], ModuleType]]:
    """Return what all-reduce is made of: rings, and the half that is done around them."""
    return [
        (inside, reduce_scatter),
        (between, reduce_scatter),
        (between, all_gather),
        (inside, all_gather),
    ]


def _add(schedule: Schedule, rings: Sequence[Iterable[list[Transfer]]]) -> None:
    """Add the rounds of ``rings`` side by side; a smaller ring is done after fewer."""
    for transfers in zip_longest(*rings, fillvalue=()):
        schedule.add(chain.from_iterable(transfers))
