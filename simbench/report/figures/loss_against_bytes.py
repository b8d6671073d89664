"""Loss against bytes: how much each byte on the network buys."""

from typing import ClassVar, Literal

from matplotlib.figure import Figure

from simbench.records import RunFolder
from simbench.report.figure import ReportFigure
from simbench.report.loss_curves import draw_loss
from simbench.report.quantities import size_unit


class LossAgainstBytes(ReportFigure):
    """What the network was asked to carry."""

    kind: Literal["loss_against_bytes"] = "loss_against_bytes"
    title: ClassVar[str] = "Loss against bytes sent"
    caption: ClassVar[str] = (
        "The same losses against the payload that all nodes together had handed to the network. "
        "Where the strategies differ by more than 20 times, the axis is logarithmic."
    )
    order: ClassVar[int] = 40

    def draw(self, run: RunFolder) -> Figure:
        """Draw the losses at their payload."""
        return draw_loss(run, "payload_bytes", size_unit, "payload sent by all nodes ({})")
