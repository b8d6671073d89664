"""The linear scaling rule: N workers, N times the rate."""

from typing import Literal

from pydantic import NonNegativeInt

from simbench.learning.schedule import Schedule


class LinearScaling(Schedule):
    """From 1 to N, the number of workers, at once or over ``steps``: 1 + (N - 1) t / steps.

    The rule keeps the rate in proportion to the samples of a step; N counts all workers of the
    cluster. With ``steps`` it is the gradual warm-up of the paper, which begins at the rate of one.

    Source:
        Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
        arXiv:1706.02677, section 2.1 (linear scaling rule) and 2.2 (gradual warm-up).
    """

    kind: Literal["linear_scaling"] = "linear_scaling"
    steps: NonNegativeInt = 0
    """How many steps it takes; by default none."""

    @property
    def duration(self) -> int:
        """``steps``."""
        return self.steps

    def factor_at(self, step: int, num_workers: int) -> float:
        """Return what is reached on the way to N."""
        return 1 + (num_workers - 1) * (step / self.steps if self.steps else 1)
