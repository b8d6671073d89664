"""What a condition is: something that goes wrong on the cluster or the network, and when.

Conditions depend on time and seeds alone, never on what a strategy does: every strategy meets the
same failures.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any

from pydantic import NonNegativeInt
from simpy.events import Event

from simbench.influence import Influence
from simbench.network.cable import Cable, cables, check_link, check_node
from simbench.network.routing import Link, Place
from simbench.spec import Spec, misfit

Course = Generator[Event, Any, None]
"""What a condition does as time goes on: a generator of events to wait for."""


class Condition(Spec, ABC):
    """A choice of what goes wrong; its fields are the YAML keys."""

    kind: str

    @abstractmethod
    def check(self, links: Sequence[Link], num_nodes: int) -> None:
        """Refuse what names a node or a link that doesn't exist, or what has no effect.

        Args:
            links: all that the scenario's strategies have.
            num_nodes: workers, and servers on machines of their own.

        Raises:
            ValidationError: it tells the key; made by ``spec.misfit``.
        """

    @abstractmethod
    def play(self, influence: Influence) -> Course:
        """Go wrong, by ``influence`` alone. Nodes that a strategy doesn't use are passed over."""


class NodeCondition(Condition, ABC):
    """Something that goes wrong with nodes."""

    nodes: tuple[NonNegativeInt, ...] = ()
    """Their ranks; by default every worker."""

    def check(self, links: Sequence[Link], num_nodes: int) -> None:
        """Refuse nodes that don't exist."""
        check_nodes(self.nodes, num_nodes)

    def ranks(self, influence: Influence) -> Sequence[int]:
        """Return the ranks of the nodes that it is about."""
        return self.nodes or range(influence.num_workers)


class LinkCondition(Condition, ABC):
    """Something that goes wrong with links; by default with every link."""

    links: tuple[tuple[Place, Place], ...] = ()
    """Links by their two ends, each the rank of a node or the name of a switch: [[3, switch]]."""
    nodes: tuple[NonNegativeInt, ...] = ()
    """Ranks of nodes: all links of each."""
    one_way: bool = False
    """Whether ``links`` mean only the direction from the first end to the second."""

    def check(self, links: Sequence[Link], num_nodes: int) -> None:
        """Refuse links that don't exist."""
        if self.one_way and not self.links:
            raise misfit(("one_way",), "has no effect without links")
        for index, (one, other) in enumerate(self.links):
            try:
                check_link(one, other, links)
            except ValueError as error:
                raise misfit(("links", index), str(error)) from None
        check_nodes(self.nodes, num_nodes)
        if not links:
            raise misfit((), "has no effect: this network has no links")

    def cables(self, influence: Influence) -> list[Cable]:
        """Return the links that it is about, those of one cable together."""
        return cables(influence.links, self.links, self.nodes, one_way=self.one_way)


def check_nodes(nodes: Sequence[int], num_nodes: int) -> None:
    """Refuse, under the key ``nodes``, ranks from ``num_nodes`` on."""
    for index, rank in enumerate(nodes):
        try:
            check_node(rank, num_nodes)
        except ValueError as error:
            raise misfit(("nodes", index), str(error)) from None


def check_span(at_ns: int, until_ns: int | None) -> None:
    """Refuse an end that isn't behind the beginning."""
    if until_ns is not None and until_ns <= at_ns:
        raise misfit(("until",), "expected a moment after that of at")
