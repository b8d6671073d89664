"""What a sharding is: which of a dataset's training samples each node has."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from simbench.spec import Spec

Shard = range | np.ndarray
"""The indices of one node's samples."""


@dataclass(frozen=True)
class Listing:
    """What there is to share out: training samples in their order, known by their indices."""

    num_samples: int
    reach: int = 0
    """So many samples behind each share something with it, as windows of a text do."""
    labels: np.ndarray | None = None
    """The class of each, an integer; None if they have none."""

    def apart(self) -> np.ndarray:
        """Return the indices of samples that share nothing: all of them, where none reach."""
        return np.arange(0, self.num_samples, self.reach + 1)


class Sharding(Spec, ABC):
    """A choice of who has which samples; its fields are the YAML keys."""

    kind: str
    sizes: Literal["equal", "by_speed"] = "equal"
    """Equal shards, or in proportion to how many steps each machine takes in a second."""

    needs_labels: ClassVar[bool] = False
    """Whether it goes by the samples' labels."""

    @abstractmethod
    def split(self, listing: Listing, weights: Sequence[int]) -> tuple[Shard, ...]:
        """Return each node's samples, in proportion to ``weights``: one positive number per node.

        There is at least one sample to share out. None is in two shards, and all are in one, but
        for those of a ``listing`` that reaches which would reach into another shard.
        """


def edges(total: int, weights: Sequence[int]) -> list[int]:
    """Return where ``total`` things are to be cut so that pieces are as ``weights`` are."""
    return [total * upto // sum(weights) for upto in itertools.accumulate(weights, initial=0)]


def pick(shard: Shard, draw: np.random.Generator, count: int) -> np.ndarray:
    """Return ``count`` samples of ``shard``, drawn with replacement."""
    chosen = draw.integers(0, len(shard), count)
    # A range of a long text is never written out.
    return chosen + shard.start if isinstance(shard, range) else shard[chosen]
