"""Nodes that fail at a moment that is known."""

from typing import Literal

from pydantic import model_validator

from simbench.condition import Course, NodeCondition, check_span
from simbench.influence import Influence
from simbench.units import Nanoseconds, PositiveNanoseconds


class NodeFailure(NodeCondition):
    """Nodes go down at a moment and come back at another, or never.

    What a node was computing is lost and begins anew when it is back; its memory survives. What it
    sends or is sent is cut, and sent again from its first byte when both ends are up.
    """

    kind: Literal["node_failure"] = "node_failure"
    at: Nanoseconds = 60 * 10**9
    """When they go down."""
    until: PositiveNanoseconds | None = None
    """When they are back; by default never."""

    @model_validator(mode="after")
    def _ends_later(self) -> "NodeFailure":
        check_span(self.at, self.until)
        return self

    def play(self, influence: Influence) -> Course:
        """Go down and come back."""
        yield from influence.wait_until(self.at)
        for rank in self.ranks(influence):
            influence.stop_node(rank, for_ever=self.until is None)
        if self.until is not None:
            yield from influence.wait_until(self.until)
            for rank in self.ranks(influence):
                influence.start_node(rank)
