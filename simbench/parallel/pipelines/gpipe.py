"""GPipe: all micro-batches forward, then all of them backward."""

from typing import Literal

from simbench.parallel.pipeline import Pipeline, Work


class GPipe(Pipeline):
    """All forward passes, then all backward passes, the last micro-batch first.

    With p equal stages, m micro-batches and no time for transfers, a share (p-1)/(m+p-1) of the
    time is lost to the bubble. Each stage keeps what all m have left behind.

    Source:
        Huang et al., "GPipe: Efficient Training of Giant Neural Networks using Pipeline
        Parallelism", NeurIPS 2019, arXiv:1811.06965, section 2.3 and figure 2.
    """

    kind: Literal["gpipe"] = "gpipe"

    def order(self, stage: int) -> list[Work]:
        """Return m forward and m backward passes."""
        every = range(self.microbatches)
        return [Work(True, stage, i) for i in every] + [Work(False, stage, i) for i in every[::-1]]
