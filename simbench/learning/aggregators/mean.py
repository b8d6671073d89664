"""The mean: the default, which a single faulty worker can pull anywhere."""

from collections.abc import Sequence
from typing import Literal

from simbench.learning.aggregator import Aggregator


class Mean(Aggregator):
    """1/m sum_i x_i."""

    kind: Literal["mean"] = "mean"

    def weights(self, samples: Sequence[float]) -> Sequence[float]:
        """Return 1/m for each."""
        return [1 / len(samples)] * len(samples)
