"""Pure operations on some entries of a vector."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simbench.execution.operation import PureOperation


@dataclass(frozen=True)
class Choose(PureOperation):
    """Which ``count`` of ``size`` entries: a random subset (count,), ascending, of int64.

    All subsets are equally likely; ``draw`` is the seed.
    """

    def __call__(self, size: int, count: int, draw: int) -> Tensor:
        chosen = np.random.default_rng(draw).choice(size, count, replace=False, shuffle=False)
        return torch.from_numpy(np.sort(chosen))


@dataclass(frozen=True)
class Select(PureOperation):
    """The entries ``which`` (k,) of a vector (n,)."""

    def __call__(self, vector: Tensor, which: Tensor) -> Tensor:
        return vector[which.to(vector.device)]


@dataclass(frozen=True)
class Replace(PureOperation):
    """A vector (n,) whose entries ``which`` (k,) are ``values`` (k,)."""

    def __call__(self, vector: Tensor, which: Tensor, values: Tensor) -> Tensor:
        return vector.index_copy(0, which.to(vector.device), values)
