"""Nodes that aren't there from the start."""

from typing import Literal

from simbench.condition import Course, NodeCondition
from simbench.influence import Influence
from simbench.units import PositiveNanoseconds


class LateJoin(NodeCondition):
    """Nodes join at a moment; until then they compute nothing, and messages to them wait.

    A strategy for which all workers meet waits for them.
    """

    kind: Literal["late_join"] = "late_join"
    at: PositiveNanoseconds = 60 * 10**9
    """When they join."""

    def play(self, influence: Influence) -> Course:
        """Be absent, then join."""
        for rank in self.ranks(influence):
            influence.stop_node(rank)
        yield from influence.wait_until(self.at)
        for rank in self.ranks(influence):
            influence.start_node(rank)
