"""Two classes of points on either side of a plane, with labels that err near it."""

import functools
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt

from simbench.learning.dataset import Samples
from simbench.learning.model import Batch
from simbench.learning.shards.contiguous import Contiguous
from simbench.seeds import generator


class Classification(Samples):
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

    @property
    def yields(self) -> Literal["features"]:
        """Points and labels."""
        return "features"

    @property
    def num_classes(self) -> int:
        """Two."""
        return 2

    @property
    def content(self) -> str:
        """Nothing is read."""
        return ""

    @property
    def own_sharding(self) -> Contiguous:
        """Any will do: the points come in no order."""
        return Contiguous()

    @property
    def has_labels(self) -> bool:
        """They are of two classes."""
        return True

    def labels(self, length: int) -> np.ndarray:
        """Return 0 or 1 for each point."""
        return _points(self, "training", self.samples, length)[1].numpy()

    def num_samples(self, length: int) -> int:
        """Return ``samples``."""
        return self.samples

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, length) points and (B,) labels in 0..1."""
        points, labels = _points(self, "training", self.samples, length)
        chosen = torch.from_numpy(indices)
        return points[chosen], labels[chosen]

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
    labels = (draw.random(count) < chance).astype(np.int64)
    return torch.from_numpy(points), torch.from_numpy(labels)
