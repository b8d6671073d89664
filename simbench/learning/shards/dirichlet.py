"""Nodes whose mixtures of labels are drawn from a Dirichlet distribution."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat

from simbench.learning.sharding import Listing, Sharding, edges
from simbench.seeds import generator


class Dirichlet(Sharding):
    """Node i draws its share of each label, q_i ~ Dir(alpha * p), and its samples accordingly.

    p are the labels' shares of all data. A large ``alpha`` gives every node p, a small one a single
    label. Every sample is given out once, so mixtures are scaled until all nodes together want what
    there is; where that can't be, the last nodes of a random order get what is left.

    Source:
        Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
        Visual Classification", 2019, arXiv:1909.06335, section 3.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: PositiveFloat = 0.5
    """Concentration: a share has mean p and variance p(1-p)/(alpha+1)."""
    split_seed: NonNegativeInt = 0
    """Names the mixtures; runs with other seeds meet the same shards."""

    needs_labels: ClassVar[bool] = True

    def split(self, listing: Listing, weights: Sequence[int]) -> tuple[np.ndarray, ...]:
        """Return shards of the sizes that ``weights`` say, whose labels are as drawn."""
        assert listing.labels is not None
        samples = listing.apart()
        _, labels = np.unique(listing.labels[samples], return_inverse=True)
        draw = generator(self.split_seed, "dirichlet", 0, 0)
        counts = self._counts(np.bincount(labels), np.diff(edges(len(samples), weights)), draw)
        shards: list[list[np.ndarray]] = [[] for _ in weights]
        for label, given in enumerate(counts.T):
            shuffled = draw.permutation(samples[labels == label])
            for shard, part in zip(shards, np.split(shuffled, given.cumsum()[:-1]), strict=True):
                shard.append(part)
        return tuple(map(np.concatenate, shards))

    def _counts(
        self, of_label: np.ndarray, sizes: np.ndarray, draw: np.random.Generator
    ) -> np.ndarray:
        """Return how many samples of each label each node gets, of shape (nodes, labels)."""
        mixtures = draw.dirichlet(self.alpha * of_label / of_label.sum(), len(sizes))
        mixtures = _fitted(mixtures, of_label, sizes)
        counts = np.zeros(mixtures.shape, dtype=np.int64)
        left = of_label.copy()
        for rank in draw.permutation(len(sizes)):
            while missing := sizes[rank] - counts[rank].sum():
                # Who wants nothing but what has run out takes what there is.
                chances = np.where(left > 0, mixtures[rank], 0)
                chances = chances if chances.any() else left
                upto = np.cumsum(chances) / chances.sum()
                wanted = np.diff(np.rint(missing * upto).astype(np.int64), prepend=0)
                got = np.minimum(wanted, left)
                counts[rank] += got
                left -= got
        return counts


def _fitted(mixtures: np.ndarray, of_label: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return ``mixtures``, scaled so that nodes of ``sizes`` together want what there is.

    This is iterative proportional fitting. It goes as far as it can: a node that wants a single
    label goes on wanting it.
    """
    for _ in range(_FITTINGS):
        wanted = sizes @ mixtures
        mixtures = mixtures * np.where(wanted > 0, of_label / np.maximum(wanted, 1e-300), 1)
        mixtures /= mixtures.sum(axis=1, keepdims=True)
    return mixtures


_FITTINGS = 50
"""Times that labels and nodes are scaled in turn: more change nothing that can be seen."""
