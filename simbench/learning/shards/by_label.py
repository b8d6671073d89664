"""Each node sees only some of the labels."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from simbench.learning.sharding import Listing, Sharding, edges
from simbench.seeds import generator


class ByLabel(Sharding):
    """The data are sorted by label and cut; each node has ``pieces`` of them, drawn at random.

    A piece that is no larger than a class holds one label, or two where one class ends in it. So a
    node sees about ``pieces`` labels.

    Source:
        McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
        Data", AISTATS 2017, arXiv:1602.05629, section 3 (the pathological non-IID partition).
    """

    kind: Literal["by_label"] = "by_label"
    pieces: PositiveInt = 2
    """Pieces of the sorted data that each node has."""
    split_seed: NonNegativeInt = 0
    """Names who has which; runs with other seeds meet the same shards."""

    needs_labels: ClassVar[bool] = True

    def split(self, listing: Listing, weights: Sequence[int]) -> tuple[np.ndarray, ...]:
        """Return ``pieces`` pieces for each node, all of a node's as long as each other."""
        assert listing.labels is not None
        samples = listing.apart()
        by_label = samples[np.argsort(listing.labels[samples], kind="stable")]
        draw = generator(self.split_seed, "by_label", 0, 0)
        owners = draw.permutation(np.repeat(np.arange(len(weights)), self.pieces))
        cuts = edges(len(by_label), [weights[owner] for owner in owners])
        pieces = np.split(by_label, cuts[1:-1])
        return tuple(
            np.concatenate([pieces[place] for place in np.flatnonzero(owners == rank)])
            for rank in range(len(weights))
        )
