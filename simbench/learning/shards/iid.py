"""Shuffled data: every node's samples follow the same law."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt

from simbench.learning.sharding import Listing, Sharding, edges
from simbench.seeds import generator


class IID(Sharding):
    """The data are shuffled and dealt out. Of text, these are windows that share no token."""

    kind: Literal["iid"] = "iid"
    split_seed: NonNegativeInt = 0
    """Names the order; runs with other seeds meet the same shards."""

    def split(self, listing: Listing, weights: Sequence[int]) -> tuple[np.ndarray, ...]:
        """Return consecutive pieces of a random order."""
        order = generator(self.split_seed, "iid", 0, 0).permutation(listing.apart())
        return tuple(np.split(order, edges(len(order), weights)[1:-1]))
