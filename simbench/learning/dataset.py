"""What a dataset is: batches for training, drawn from a node's own shard, and held-out parts."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from simbench.learning.model import Batch
from simbench.spec import Spec


class Dataset(Spec, ABC):
    """A choice of data; its fields are the YAML keys."""

    kind: str
    yields: ClassVar[str]
    """The form of its batches; a model ``takes`` one."""

    @property
    @abstractmethod
    def content(self) -> str:
        """SHA-256 of what it reads from outside the package; empty where it reads nothing."""

    def shard_size(self, num_shards: int) -> int | None:
        """Return how many samples the smallest shard has.

        None where that means nothing: samples overlap, or are drawn anew each time.
        """
        return None

    @abstractmethod
    def batch(
        self, draw: np.random.Generator, rank: int, num_shards: int, size: int, length: int
    ) -> Batch:
        """Return ``size`` samples of ``length`` numbers from shard ``rank`` of ``num_shards``."""

    def shard_samples(self, rank: int, num_shards: int) -> int:
        """Return how many samples shard ``rank`` has; 1 each where they never end."""
        return 1

    @abstractmethod
    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return the held-out data in equal parts, which can be evaluated side by side."""
