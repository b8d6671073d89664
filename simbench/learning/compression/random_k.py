"""Random-k: the same few entries of everybody, drawn anew each time."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from simbench.learning.compressor import Layout, Summable, Turn


class RandomK(Summable):
    """k entries, of the same places on every node, which all draw from the seed and the step.

    So values alone are sent, and can be added up. With error feedback they are sent as they are;
    without it times d/k, d being all entries, so that they are right on average.

    Source:
        Stich, Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018, arXiv:1809.07599
        (with memory); Konecny et al., "Federated Learning: Strategies for Improving Communication
        Efficiency", 2016, arXiv:1610.05492, section 2 (random mask, from a seed; scaled).
    """

    kind: Literal["random_k"] = "random_k"
    error_feedback: bool = True
    """Whether what isn't sent is kept, and added to the next vector."""
    share: float = Field(default=0.01, gt=0, le=1)
    """k/d, the share of entries that are sent, rounded up."""

    @property
    def draws(self) -> bool:
        """All the same, in each turn anew."""
        return True

    @property
    def exaggerates(self) -> bool:
        """Where what isn't sent isn't kept."""
        return not self.error_feedback

    def _k(self, layout: Layout) -> int:
        return math.ceil(self.share * layout.length)

    def _places(self, layout: Layout, step: int) -> Tensor:
        drawn = layout.draw("random_k", 0, step).choice(
            layout.length, self._k(layout), replace=False
        )
        return torch.from_numpy(drawn).sort().values

    def part_bytes(self, layout: Layout) -> tuple[int, ...]:
        """Return k numbers."""
        return (self._k(layout) * layout.dtype.itemsize,)

    def part(self, vector: Tensor, layout: Layout, turn: Turn, parts: Sequence[Tensor]) -> Tensor:
        """Return the entries at the places of this step."""
        return vector[self._places(layout, turn.step).to(vector.device)]

    def join(self, parts: Sequence[Tensor], layout: Layout, step: int) -> Tensor:
        """Return what was sent, and 0 elsewhere."""
        numbers = parts[0]
        if not self.error_feedback:
            numbers = numbers * (layout.length / self._k(layout))
        places = self._places(layout, step).to(numbers.device)
        return numbers.new_zeros(layout.length).index_copy_(0, places, numbers)
