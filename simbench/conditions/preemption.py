"""Spot instances: the provider takes some of them back, and gives others for them later."""

import itertools
from typing import Literal

from pydantic import PositiveInt, model_validator

from simbench.condition import Course, NodeCondition
from simbench.influence import Influence
from simbench.spec import misfit
from simbench.units import PositiveNanoseconds


class Preemption(NodeCondition):
    """At exponential times, some of the nodes are taken; each has a substitute after a while.

    Which ones are taken is drawn anew each time, among those that this condition hasn't taken
    already. The substitute goes on from the memory of its predecessor, and begins anew what that
    was computing.
    """

    kind: Literal["preemption"] = "preemption"
    mean_time_between: PositiveNanoseconds = 600 * 10**9
    """Mean time from one preemption to the next, over all nodes together."""
    at_once: PositiveInt = 1
    """Nodes that are taken together."""
    away: PositiveNanoseconds = 120 * 10**9
    """Time until the substitutes are there."""

    @model_validator(mode="after")
    def _has_so_many(self) -> "Preemption":
        if self.nodes and self.at_once > len(self.nodes):
            raise misfit(("at_once",), f"expected at most {len(self.nodes)}, the number of nodes")
        return self

    def play(self, influence: Influence) -> Course:
        """Take nodes, and bring them back."""
        away: dict[int, None] = {}
        for number in itertools.count():
            wait_ns = influence.exponential_ns(self.mean_time_between, "time", 0, number)
            yield influence.later(max(1, wait_ns))
            there = [rank for rank in self.ranks(influence) if rank not in away]
            draw = influence.draw("nodes", 0, number)
            taken = (
                draw.choice(there, min(self.at_once, len(there)), replace=False) if there else ()
            )
            ranks = sorted(int(rank) for rank in taken)
            for rank in ranks:
                away[rank] = None
                influence.stop_node(rank)
            influence.start(self._bring_back(influence, ranks, away))

    def _bring_back(self, influence: Influence, ranks: list[int], away: dict[int, None]) -> Course:
        yield from influence.wait(self.away)
        for rank in ranks:
            del away[rank]
            influence.start_node(rank)
