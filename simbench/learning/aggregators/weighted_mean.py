"""The mean in which a worker counts as much as the data that it has."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from simbench.learning.aggregator import Aggregator


class WeightedMean(Aggregator):
    """sum_i n_i x_i / sum_i n_i, with n_i the samples of worker i's own data.

    Workers tell n_i along with what they push, as 8 bytes. Data without an end count as equal.

    Source:
        McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
        Data", AISTATS 2017, arXiv:1602.05629, algorithm 1.
    """

    kind: Literal["weighted_mean"] = "weighted_mean"

    reads_samples: ClassVar[bool] = True

    def weights(self, samples: Sequence[float]) -> Sequence[float]:
        """Return n_i / sum_j n_j."""
        return [each / sum(samples) for each in samples]
