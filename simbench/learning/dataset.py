"""What a dataset is: samples to train on, which nodes share out, and held-out parts."""

from abc import ABC, abstractmethod

import numpy as np
import torch

from simbench.learning.model import Batch, Form
from simbench.learning.sharding import Sharding
from simbench.learning.shards.iid import IID
from simbench.spec import Spec


class Dataset(Spec, ABC):
    """A choice of data; its fields are the YAML keys. It is either ``Samples`` or ``Endless``.

    What is called ``length`` is how many numbers make one sample, which the model says.
    """

    kind: str

    @property
    @abstractmethod
    def yields(self) -> Form:
        """The form of its batches; a model ``takes`` one."""

    @property
    def num_features(self) -> int | None:
        """How many entries a vector has; None where there is none, or any number will do."""
        return None

    @property
    def num_tokens(self) -> int | None:
        """How many different tokens there are; None where there is none."""
        return None

    @property
    def num_classes(self) -> int | None:
        """How many labels there are; None where there is none."""
        return None

    @property
    @abstractmethod
    def content(self) -> str:
        """SHA-256 of what it reads from outside the package; empty where it reads nothing."""

    @abstractmethod
    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return the held-out data in equal parts, which can be evaluated side by side."""


class Samples(Dataset, ABC):
    """Training samples, known by their indices from 0; a ``Sharding`` says who has which."""

    @property
    def own_sharding(self) -> Sharding:
        """Who has which samples where a scenario doesn't say: their order may mean something."""
        return IID()

    @property
    def has_labels(self) -> bool:
        """Whether every sample is of a class."""
        return False

    def reach(self, length: int) -> int:
        """Return how many samples behind each share something with it."""
        return 0

    def labels(self, length: int) -> np.ndarray:
        """Return the class of each training sample, as an integer, where there are classes."""
        raise AssertionError(f"samples of {self.kind} have no labels")

    @abstractmethod
    def num_samples(self, length: int) -> int:
        """Return how many training samples there are."""

    @abstractmethod
    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return the training samples of ``indices``, in their order."""

    def too_few(self, num_shards: int, length: int) -> str:
        """Return what to say where a shard of ``num_shards`` has no sample."""
        return f"{self.num_samples(length)} samples are too few for {num_shards} nodes"


def in_parts(batch: Batch, size: int) -> tuple[Batch, ...]:
    """Return ``batch`` in parts of ``size`` samples; the last may have fewer."""
    return tuple(zip(*(torch.split(each, size) for each in batch), strict=True))


class Endless(Dataset, ABC):
    """A law that each node draws from, without end: there is nothing to share out."""

    @abstractmethod
    def draw(self, draw: np.random.Generator, rank: int, size: int, length: int) -> Batch:
        """Return ``size`` new samples of node ``rank``."""
