"""Two classes of points on either side of a plane, with labels that err near it."""

import functools
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt

from simbench.learning.dataset import Dataset
from simbench.learning.model import Batch
from simbench.seeds import generator


class Classification(Dataset):
    """x from N(0, I); P(label = 1) is the logistic function of ``margin`` times x along a line."""

    kind: Literal["classification"] = "classification"
    samples: PositiveInt = 2000
    """For training, over all nodes."""
    validation_samples: PositiveInt = 1000
    """Held out."""
    margin: PositiveFloat = 2.0
    """How sharply the classes part."""
    data_seed: int = 0
    """Names the points; runs with other seeds meet the same ones."""

    yields: ClassVar[str] = "features"

    @property
    def content(self) -> str:
        """Nothing is read."""
        return ""

    def shard_size(self, num_shards: int) -> int:
        """Return the samples of each node, rounded down."""
        return self.samples // num_shards

    def batch(
        self, draw: np.random.Generator, rank: int, num_shards: int, size: int, length: int
    ) -> Batch:
        """Return (size, length) points and (size,) labels in 0..1, drawn with replacement."""
        points, labels = _points(self, "training", self.samples, length)
        first, end = self._shard(rank, num_shards)
        if first == end:
            raise ValueError(f"{self.samples} samples are too few for {num_shards} nodes")
        chosen = torch.from_numpy(draw.integers(first, end, size))
        return points[chosen], labels[chosen]

    def shard_samples(self, rank: int, num_shards: int) -> int:
        """Return how many of the points are the node's own."""
        first, end = self._shard(rank, num_shards)
        return end - first

    def _shard(self, rank: int, num_shards: int) -> tuple[int, int]:
        return self.samples * rank // num_shards, self.samples * (rank + 1) // num_shards

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return the held-out points in one part."""
        return (_points(self, "validation", self.validation_samples, length),)


@functools.cache
def _points(spec: Classification, purpose: str, count: int, length: int) -> Batch:
    direction = generator(spec.data_seed, "direction", 0, 0).standard_normal(length)
    direction /= np.linalg.norm(direction)
    draw = generator(spec.data_seed, purpose, 0, 0)
    points = draw.standard_normal((count, length))
    chance = 1 / (1 + np.exp(-spec.margin * points @ direction))
    labels = (draw.random(count) < chance).astype(np.float64)
    return torch.from_numpy(points), torch.from_numpy(labels)
