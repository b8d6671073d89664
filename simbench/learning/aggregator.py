"""What an aggregator is: many vectors become one, by a sum or by something more robust."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from simbench.execution.operation import PureOperation
from simbench.execution.values import Effort
from simbench.spec import Spec


class Aggregator(Spec, ABC):
    """A choice of what to make of the vectors of many workers; its fields are the YAML keys.

    The order of the vectors doesn't matter, but for how a sum is rounded.
    """

    kind: str

    is_entrywise: ClassVar[bool] = True
    """Whether an entry of the result depends on that entry of the vectors alone."""
    reads_samples: ClassVar[bool] = False
    """Whether it matters how many samples each worker has."""

    def check(self, key: str, num_vectors: int) -> None:
        """Refuse so many vectors where nothing can be made of them.

        Raises:
            ValidationError: as ``spec.misfit`` makes it, below ``key`` of the strategy.
        """

    @abstractmethod
    def weights(self, samples: Sequence[float]) -> Sequence[float] | None:
        """Return the weight of each vector if it is a sum of them, else None.

        Args:
            samples: of the worker behind each vector; whole numbers, or all 1.
        """

    def combine(self, vectors: Tensor) -> Tensor:
        """Return (n,) of the (m, n) ``vectors``; asked for where it isn't a sum."""
        raise NotImplementedError


@dataclass(frozen=True)
class Aggregate(PureOperation):
    """What ``aggregator`` makes of its inputs, vectors of shape (n,)."""

    aggregator: Aggregator

    effort: ClassVar[Effort] = "medium"

    @property
    def is_entrywise(self) -> bool:
        """Whether the aggregator works so."""
        return self.aggregator.is_entrywise

    def __call__(self, *vectors: Tensor) -> Tensor:
        """Return one vector of shape (n,)."""
        return self.aggregator.combine(torch.stack(vectors))
