"""1F1B: as soon as a micro-batch can go back, it does."""

from typing import Literal

from simbench.parallel.pipeline import Pipeline, Work


class OneForwardOneBackward(Pipeline):
    """A few forward passes to fill the pipeline, then one forward and one backward in turn.

    The bubble is that of GPipe, but stage s of p keeps what p - s micro-batches have left behind,
    however many there are. Each step ends with an empty pipeline, so gradients aren't stale.

    Source:
        Narayanan et al., "PipeDream: Generalized Pipeline Parallelism for DNN Training", SOSP 2019,
        section 3.2 (1F1B); with a flush as in Narayanan et al., "Efficient Large-Scale Language
        Model Training on GPU Clusters Using Megatron-LM", SC 2021, arXiv:2104.04473, section 2.2.1.
    """

    kind: Literal["1f1b"] = "1f1b"

    def order(self, stage: int) -> list[Work]:
        """Return forward passes that are ``stages - stage - 1`` ahead of the backward passes."""
        m = self.microbatches
        ahead = min(m, self.stages - stage - 1)
        order = [Work(True, stage, i) for i in range(ahead)]
        for i in range(m):
            if i + ahead < m:
                order.append(Work(True, stage, i + ahead))
            order.append(Work(False, stage, i))
        return order
