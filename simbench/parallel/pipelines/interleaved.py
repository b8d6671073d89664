"""Interleaved 1F1B: each stage has several pieces of the model, far from each other."""

from typing import Literal

from pydantic import PositiveInt, model_validator

from simbench.parallel.pipeline import Pipeline, Work
from simbench.spec import misfit


class Interleaved(Pipeline):
    """1F1B in which a micro-batch passes each stage v times, each time a v-th of its layers.

    A bubble is a v-th as long: (p-1)/(vm+p-1) of the time. Activations are passed on v times as
    often. Micro-batches go in groups of p: ``microbatches`` is a multiple of ``stages``.

    Source:
        Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using
        Megatron-LM", SC 2021, arXiv:2104.04473, section 2.2.2 and figure 4.
    """

    kind: Literal["interleaved"] = "interleaved"
    chunks: PositiveInt = 2
    """Pieces of the model on each stage."""

    @model_validator(mode="after")
    def _goes_in_groups(self) -> "Interleaved":
        if self.microbatches % self.stages:
            raise misfit(
                ("microbatches",),
                f"{self.microbatches} aren't a multiple of the {self.stages} stages, as an "
                "interleaved pipeline needs",
            )
        return self

    @property
    def chunks_per_stage(self) -> int:
        """``chunks``."""
        return self.chunks

    def order(self, stage: int) -> list[Work]:
        """Return forward passes that are ahead far enough for each to find its way back in time."""
        p, v, total = self.stages, self.chunks, self.microbatches * self.chunks
        ahead = min(total, 2 * (p - stage - 1) + (v - 1) * p)
        order = [self._number(k, stage, is_forward=True) for k in range(ahead)]
        for k in range(total):
            if k + ahead < total:
                order.append(self._number(k + ahead, stage, is_forward=True))
            order.append(self._number(k, stage, is_forward=False))
        return order

    def _number(self, k: int, stage: int, *, is_forward: bool) -> Work:
        """Return pass number ``k``: p micro-batches through one chunk, then through the next."""
        p, v = self.stages, self.chunks
        group, rest = divmod(k, p * v)
        turn, place = divmod(rest, p)
        chunk = turn if is_forward else v - 1 - turn
        return Work(is_forward, chunk * p + stage, group * p + place)
