"""Randomness is an argument: every draw is named by (seed, purpose, rank, step).

A draw depends on nothing else, so not on the order of events, and every strategy meets the same
slow steps and the same batches: comparisons are paired.
"""

import hashlib
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class _Key(ISeedSequence):
    """A seed that is a key, since NumPy asks the system for randomness beside a bare one."""

    def __init__(self, key: np.ndarray[Any, Any]) -> None:
        self.key = key

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """Return the key."""
        return self.key


def generator(seed: int, purpose: str, rank: int, step: int) -> np.random.Generator:
    """Return the generator of the draws that (seed, purpose, rank, step) names.

    Philox is counter-based and cheap to make; its 128-bit key is a hash of the four.
    """
    name = f"{seed}/{purpose}/{rank}/{step}".encode()
    key = np.frombuffer(hashlib.blake2b(name, digest_size=16).digest(), dtype="<u8")
    as_seed: Any = _Key(key.astype(np.uint64))  # NumPy's stubs know only their own
    return np.random.Generator(np.random.Philox(as_seed))
