"""Nodes that fail at random and are repaired."""

import itertools
from typing import Literal

from simbench.condition import Course, NodeCondition
from simbench.influence import Influence
from simbench.units import Nanoseconds, PositiveNanoseconds


class NodeFailures(NodeCondition):
    """Each node fails again and again: exponential times up, exponential times down.

    What a node was computing is lost and begins anew when it is back; its memory survives. Work
    that takes w is then done after (e^(l w) - 1) (1/l + r) on average, where 1/l is the mean time
    up and r the mean time down.

    Source:
        Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps",
        Future Generation Computer Systems 22 (2006): Poisson failures, work begun anew.
    """

    kind: Literal["node_failures"] = "node_failures"
    mean_time_between_failures: PositiveNanoseconds = 3600 * 10**9
    """Mean time from a node's return, or the start, to its next failure."""
    mean_time_to_repair: Nanoseconds = 60 * 10**9
    """Mean time that a failure takes; with ``0 s`` only the work under way is lost."""

    def play(self, influence: Influence) -> Course:
        """Let every node fail by itself."""
        for rank in self.ranks(influence):
            influence.start(self._fail(influence, rank))
        yield from ()

    def _fail(self, influence: Influence, rank: int) -> Course:
        mean_up_ns, mean_down_ns = self.mean_time_between_failures, self.mean_time_to_repair
        for number in itertools.count():
            up_ns = influence.exponential_ns(mean_up_ns, "time up", rank, number)
            yield influence.later(max(1, up_ns))
            influence.stop_node(rank)
            down_ns = influence.exponential_ns(mean_down_ns, "time down", rank, number)
            yield from influence.wait(down_ns)
            influence.start_node(rank)
