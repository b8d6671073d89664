"""Links that fail at a moment that is known."""

from typing import Literal

from pydantic import model_validator

from simbench.condition import Course, LinkCondition, check_span
from simbench.influence import Influence
from simbench.units import Nanoseconds, PositiveNanoseconds


class LinkFailure(LinkCondition):
    """Links fail at a moment and are mended at another, or never.

    What is under way on them is cut. It goes on with what hasn't arrived: over another way, if
    there is one, or as soon as there is one again.
    """

    kind: Literal["link_failure"] = "link_failure"
    at: Nanoseconds = 60 * 10**9
    """When they fail."""
    until: PositiveNanoseconds | None = None
    """When they are mended; by default never."""

    @model_validator(mode="after")
    def _ends_later(self) -> "LinkFailure":
        check_span(self.at, self.until)
        return self

    def play(self, influence: Influence) -> Course:
        """Fail and be mended."""
        cables = self.cables(influence)
        yield from influence.wait_until(self.at)
        for cable in cables:
            influence.fail(cable, for_ever=self.until is None)
        if self.until is not None:
            yield from influence.wait_until(self.until)
            for cable in cables:
                influence.mend(cable)
