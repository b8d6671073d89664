"""Krum: the vector that has the most others near it."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from simbench.learning.aggregator import Aggregator
from simbench.spec import misfit


class Krum(Aggregator):
    """The mean of the ``chosen`` vectors with the lowest scores; with 1, one of the vectors itself.

    The score of x_i is the sum of its squared distances to the n - f - 2 nearest of the n - 1
    others, with f = ``faulty``. Of equal scores the lower rank's counts as lower.

    Source:
        Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
        Tolerant Gradient Descent", NeurIPS 2017, arXiv:1703.02757: "The Krum Function", whose
        resilience is proven for 2f + 2 < n, and "Multi-Krum" among the experiments.
    """

    kind: Literal["krum"] = "krum"
    faulty: NonNegativeInt = 1
    """f: how many of the workers may be faulty."""
    chosen: PositiveInt = 1
    """m: how many vectors are averaged; more than 1 is Multi-Krum."""

    is_entrywise: ClassVar[bool] = False

    def check(self, key: str, num_vectors: int) -> None:
        """Refuse too few vectors for so many faulty ones, and more chosen than there are."""
        if num_vectors < 2 * self.faulty + 3:
            raise misfit(
                (key, "faulty"),
                f"needs 2 * faulty + 3 = {2 * self.faulty + 3} vectors or more; got {num_vectors}",
            )
        if self.chosen > num_vectors:
            raise misfit(
                (key, "chosen"), f"expected at most the {num_vectors} vectors; got {self.chosen}"
            )

    def weights(self, samples: Sequence[float]) -> None:
        """It is no sum."""
        return

    def combine(self, vectors: Tensor) -> Tensor:
        """Return the mean of the rows with the lowest scores."""
        count = len(vectors)
        near = vectors.new_full((count, count), torch.inf)  # nobody is near to itself
        for i in range(count):
            for j in range(i):
                near[i, j] = near[j, i] = (vectors[i] - vectors[j]).square().sum()
        # Sorting puts what isn't a number last: who is nowhere is near to nobody.
        scores = torch.sort(near, dim=1).values[:, : count - self.faulty - 2].sum(dim=1)
        best = torch.sort(scores, stable=True).indices[: self.chosen]
        # In the order of ranks, so that the same choice is the same sum.
        return vectors[best.sort().values].mean(dim=0)
