"""Loss against samples: how much each sample teaches, whatever it cost."""

from typing import ClassVar, Literal

from matplotlib.figure import Figure

from simbench.records import RunFolder
from simbench.report.figure import ReportFigure
from simbench.report.loss_curves import draw_loss
from simbench.report.quantities import sample_unit


class LossAgainstSamples(ReportFigure):
    """The clock taken away."""

    kind: Literal["loss_against_samples"] = "loss_against_samples"
    title: ClassVar[str] = "Loss against samples"
    caption: ClassVar[str] = (
        "The same losses against the training samples that the model rests on, over all nodes "
        "together: a difference here is due to what a strategy makes of its samples (averaging, "
        "stale gradients, learning rate), not to how many of them it processes in a second."
    )
    order: ClassVar[int] = 30

    def draw(self, run: RunFolder) -> Figure:
        """Draw the losses at their samples."""
        return draw_loss(run, "samples", sample_unit, "training samples over all nodes ({})")
