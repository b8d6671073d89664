"""Real images: handwritten digits."""

from typing import Literal

import numpy as np
import torch

from simbench.learning import handwriting
from simbench.learning.dataset import Samples, in_parts
from simbench.learning.model import Batch

_PART_SAMPLES = 90


class Digits(Samples):
    """1,797 images of 8 x 8 pixels and the digit that each shows; every fifth is held out."""

    kind: Literal["digits"] = "digits"

    @property
    def yields(self) -> Literal["features"]:
        """Pixels from 0 to 1, and digits."""
        return "features"

    @property
    def num_features(self) -> int:
        """Pixels."""
        return handwriting.PIXELS

    @property
    def num_classes(self) -> int:
        """Ten."""
        return handwriting.CLASSES

    @property
    def content(self) -> str:
        """SHA-256 of images and digits."""
        return handwriting.content()

    @property
    def has_labels(self) -> bool:
        """Every image shows a digit."""
        return True

    def labels(self, length: int) -> np.ndarray:
        """Return the digits."""
        return handwriting.images(held_out=False)[1]

    def num_samples(self, length: int) -> int:
        """Return how many aren't held out."""
        return len(self.labels(length))

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, 64) pixels and (B,) digits."""
        pixels, digits = handwriting.images(held_out=False)
        return torch.from_numpy(pixels[indices]), torch.from_numpy(digits[indices])

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return the held-out images in parts of 90."""
        pixels, digits = handwriting.images(held_out=True)
        return in_parts((torch.from_numpy(pixels), torch.from_numpy(digits)), _PART_SAMPLES)
