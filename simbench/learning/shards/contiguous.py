"""Pieces of the data in their own order: what a file is cut into, if nobody shuffles it."""

import itertools
from collections.abc import Sequence
from typing import Literal

from simbench.learning.sharding import Listing, Sharding, edges


class Contiguous(Sharding):
    """Each node has one piece of the data, in the order in which they come.

    Node r of N has samples r/N to (r+1)/N of them. A window of text lies in one piece as a whole.
    """

    kind: Literal["contiguous"] = "contiguous"

    def split(self, listing: Listing, weights: Sequence[int]) -> tuple[range, ...]:
        """Return one range for each node."""
        cuts = edges(listing.num_samples + listing.reach, weights)
        return tuple(range(begin, end - listing.reach) for begin, end in itertools.pairwise(cuts))
