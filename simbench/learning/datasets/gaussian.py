"""Standard normal noise, and the rank of the node that drew it: data for quadratics."""

from typing import Literal

import numpy as np
import torch

from simbench.learning.dataset import Endless
from simbench.learning.model import Batch


class Gaussian(Endless):
    """Samples are (z, rank) with z from N(0, I); held out is z = 0 of every node."""

    kind: Literal["gaussian"] = "gaussian"

    @property
    def yields(self) -> Literal["noise"]:
        """Noise, and whose it is."""
        return "noise"

    @property
    def content(self) -> str:
        """Nothing is read."""
        return ""

    def draw(self, draw: np.random.Generator, rank: int, size: int, length: int) -> Batch:
        """Return noise of shape (size, length) and the rank, size times."""
        return torch.from_numpy(draw.standard_normal((size, length))), torch.full((size,), rank)

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return one sample per node without noise: the mean of all nodes' true losses."""
        return ((torch.zeros(num_shards, length), torch.arange(num_shards)),)
