"""Links that fail at random and are mended."""

import itertools
from typing import Literal

from simbench.condition import Course, LinkCondition
from simbench.influence import Influence
from simbench.network.cable import Cable
from simbench.units import PositiveNanoseconds


class LinkFailures(LinkCondition):
    """Each cable fails again and again: exponential times up, exponential times down.

    Both directions fail together, unless ``one_way`` names one. What is under way is cut, and goes
    on with what hasn't arrived: over another way, or as soon as there is one again.
    """

    kind: Literal["link_failures"] = "link_failures"
    mean_time_between_failures: PositiveNanoseconds = 3600 * 10**9
    """Mean time from a cable's repair, or the start, to its next failure."""
    mean_time_to_repair: PositiveNanoseconds = 10 * 10**9
    """Mean time that a failure takes."""

    def play(self, influence: Influence) -> Course:
        """Let every cable fail by itself."""
        for cable in self.cables(influence):
            influence.start(self._fail(influence, cable))
        yield from ()

    def _fail(self, influence: Influence, cable: Cable) -> Course:
        mean_up_ns, mean_down_ns = self.mean_time_between_failures, self.mean_time_to_repair
        first = cable.links[0]
        for number in itertools.count():
            up_ns = influence.exponential_ns(mean_up_ns, "time up", first, number)
            yield influence.later(max(1, up_ns))
            influence.fail(cable)
            down_ns = influence.exponential_ns(mean_down_ns, "time down", first, number)
            yield influence.later(max(1, down_ns))
            influence.mend(cable)
