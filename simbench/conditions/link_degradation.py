"""Links that carry less than they should, for a while."""

from typing import Literal

from pydantic import Field, model_validator

from simbench.condition import Course, LinkCondition, check_span
from simbench.influence import Influence
from simbench.spec import misfit
from simbench.units import BitsPerSecond, Nanoseconds, PositiveNanoseconds


class LinkDegradation(LinkCondition):
    """Links carry a fraction of their rate, or no more than a rate, between two moments."""

    kind: Literal["link_degradation"] = "link_degradation"
    factor: float | None = Field(default=None, gt=0, le=1)
    """What is left of the rate, from 0 to 1; by default, and without ``rate``, a tenth."""
    rate: BitsPerSecond | None = None
    """No more than this is carried."""
    at: Nanoseconds = 0
    """When it begins."""
    until: PositiveNanoseconds | None = None
    """When it is over; by default never."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "LinkDegradation":
        if self.factor is not None and self.rate is not None:
            raise misfit(("factor",), "has no effect beside rate; give one of the two")
        check_span(self.at, self.until)
        return self

    def play(self, influence: Influence) -> Course:
        """Carry less, then as much as before."""
        cables = self.cables(influence)
        yield from influence.wait_until(self.at)
        for cable in cables:
            influence.change_rate(cable, self._less)
        if self.until is not None:
            yield from influence.wait_until(self.until)
            for cable in cables:
                influence.change_rate(cable, None)

    def _less(self, rate_bps: int) -> int:
        if self.rate is not None:
            return min(rate_bps, self.rate)
        factor = 0.1 if self.factor is None else self.factor
        return max(min(1, rate_bps), round(rate_bps * factor))
