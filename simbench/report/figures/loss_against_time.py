"""Loss against virtual time: the answer as a picture."""

from typing import ClassVar, Literal

from matplotlib.figure import Figure

from simbench.records import RunFolder
from simbench.report.figure import ReportFigure
from simbench.report.loss_curves import draw_loss
from simbench.report.quantities import time_unit


class LossAgainstTime(ReportFigure):
    """What a user sees on the clock."""

    kind: Literal["loss_against_time"] = "loss_against_time"
    title: ClassVar[str] = "Loss against virtual time"
    caption: ClassVar[str] = (
        "The thick line is the median over seeds and the band reaches from the lowest to the "
        "highest seed, as long as all seeds run; thin lines are single seeds. A seed ends in a "
        "filled marker where it reached the target and in a hollow one where it did not: at its "
        "last evaluation, and the budget may go on beyond it."
    )
    order: ClassVar[int] = 10

    def draw(self, run: RunFolder) -> Figure:
        """Draw the losses at the virtual times of their evaluations."""
        return draw_loss(run, "time_ns", time_unit, "virtual time ({})")
