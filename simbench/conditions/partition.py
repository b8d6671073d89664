"""A network that falls apart into two."""

from collections.abc import Sequence
from typing import Literal

import networkx as nx
from pydantic import Field, model_validator

from simbench.condition import Condition, Course, check_span
from simbench.influence import Influence
from simbench.network.cable import Cable, cables, check_place
from simbench.network.routing import Link, Place
from simbench.spec import misfit
from simbench.units import Nanoseconds, PositiveNanoseconds


class Partition(Condition):
    """Some places and all others are cut off from each other: every link between them fails.

    What hangs on switches in ``places`` alone belongs to them: of a region or a rack, its switch is
    enough. Those on one side still reach each other.
    """

    kind: Literal["partition"] = "partition"
    places: tuple[Place, ...] = Field(default=(0,), min_length=1)
    """One side: ranks of nodes and names of switches."""
    at: Nanoseconds = 60 * 10**9
    """When they are cut off."""
    until: PositiveNanoseconds | None = None
    """When the network is whole again; by default never."""

    @model_validator(mode="after")
    def _ends_later(self) -> "Partition":
        check_span(self.at, self.until)
        return self

    def check(self, links: Sequence[Link], num_nodes: int) -> None:
        """Refuse places that don't exist, and sides that aren't two."""
        if not links:
            raise misfit((), "has no effect: this network has no links")
        for index, place in enumerate(self.places):
            try:
                check_place(place, links)
            except ValueError as error:
                raise misfit(("places", index), str(error)) from None
        if not self._crossing(links):
            raise misfit(("places",), "no link leads from these to any other: nothing is cut off")
        side = self._side(links)
        graph = nx.Graph((a.tail, a.head) for a in links if a.tail in side and a.head in side)
        graph.add_nodes_from(side)
        first, *others = self.places
        for other in others:
            if not nx.has_path(graph, first, other):
                raise misfit(
                    ("places",),
                    f"{first!r} and {other!r} are cut off from each other too, since what joins "
                    "them isn't among these; name the switches on this side, or use link_failure",
                )

    def play(self, influence: Influence) -> Course:
        """Fall apart, and be joined again."""
        links = self._crossing(influence.links)
        yield from influence.wait_until(self.at)
        for cable in links:
            influence.fail(cable, for_ever=self.until is None)
        if self.until is not None:
            yield from influence.wait_until(self.until)
            for cable in links:
                influence.mend(cable)

    def _side(self, links: Sequence[Link]) -> dict[Place, None]:
        """Return ``places`` and what hangs on them alone."""
        around: dict[Place, list[Place]] = {}
        for link in links:
            around.setdefault(link.tail, []).append(link.head)
            around.setdefault(link.head, []).append(link.tail)
        named = dict.fromkeys(self.places)
        switches = [place for place in self.places if isinstance(place, str)]
        hanging = [place for place, ends in around.items() if all(end in switches for end in ends)]
        return named | dict.fromkeys(hanging)

    def _crossing(self, links: Sequence[Link]) -> list[Cable]:
        side = self._side(links)
        pairs = [(a.tail, a.head) for a in links if (a.tail in side) != (a.head in side)]
        return cables(links, pairs, ()) if pairs else []
