"""Nodes that go through slow spells, each at times of its own."""

import functools
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from simbench.cluster.straggler import Straggler
from simbench.seeds import generator
from simbench.spec import misfit

_BLOCK = 256
"""Steps whose draws are made together."""


class Bursts(Straggler):
    """Slow spells of ``length`` steps on average, ``gap`` steps apart on average.

    A node is a Markov chain of two states: after a step at full speed it becomes slow with
    probability p = 1/gap, after a slow one fast with probability q = 1/length. So both lengths are
    geometric, the share of slow steps is length / (gap + length), from the first step on, and the
    state j steps later is correlated by (1 - p - q)^j.

    To draw it as a function of (seed, rank, step) alone, each step has one uniform number u: if u <
    p, the step is slow, whatever the one before was; if u >= 1 - q, fast, whatever that was; else
    it is as that was. So what a step is, the last of those up to it decides that don't look back.

    Source:
        Gilbert, "Capacity of a Burst-Noise Channel", Bell System Technical Journal 39(5), 1960, has
        the chain; Propp and Wilson, "Exact Sampling with Coupled Markov Chains and Applications to
        Statistical Mechanics", Random Structures and Algorithms 9, 1996, the look into the past.
    """

    kind: Literal["bursts"] = "bursts"
    gap: float = Field(default=90.0, gt=1)
    """Mean number of steps at full speed from one spell to the next."""
    length: float = Field(default=10.0, ge=1)
    """Mean number of steps of a spell."""

    @model_validator(mode="after")
    def _lasts(self) -> "Bursts":
        # Below it p > 1 - q: a slow step would have to make another less likely.
        least = self.gap / (self.gap - 1)
        if self.length < least:
            raise misfit(
                ("length",),
                f"slow steps that come by chance {self.gap:g} steps apart make spells of "
                f"{least:.4g} steps on average, and expected are no shorter ones; "
                f"got {self.length:g}",
            )
        return self

    def is_slow(self, seed: int, purpose: str, rank: int, step: int, num_nodes: int) -> bool:
        """Return whether the node is in a spell: what the last step says that decides."""
        block, place = divmod(step, _BLOCK)
        while True:
            decided = _decisions(self.gap, self.length, seed, purpose, rank, block)
            if decided[place] >= 0:
                return bool(decided[place])
            # Step 0 decides, so there is a block before this one.
            block, place = block - 1, _BLOCK - 1


# Every worker of a large cluster is asked in turn: each finds its block again.
@functools.lru_cache(maxsize=2**14)
def _decisions(
    gap: float, length: float, seed: int, purpose: str, rank: int, block: int
) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """Return, per step of ``block``, what the last step that decides says: 1 slow, 0 fast.

    It is -1 where none of the block does until then.
    """
    become_slow, become_fast = 1 / gap, 1 / length
    u = generator(seed, purpose, rank, block).random(_BLOCK)
    says = np.where(u < become_slow, 1, np.where(u >= 1 - become_fast, 0, -1)).astype(np.int8)
    if block == 0:
        # The first step is as any other would be that nothing is known of.
        says[0] = u[0] < become_slow / (become_slow + become_fast)
    last = np.maximum.accumulate(np.where(says >= 0, np.arange(_BLOCK), 0))
    return says[last]
