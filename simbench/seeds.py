"""Randomness is an argument: every draw is named by (seed, purpose, rank, step).

A draw depends on nothing else, so not on the order of events, and every strategy meets the same
slow steps and the same batches: comparisons are paired.
"""

import hashlib

import numpy as np


def generator(seed: int, purpose: str, rank: int, step: int) -> np.random.Generator:
    """Return the generator of the draws that (seed, purpose, rank, step) names.

    Philox is counter-based and cheap to make; its 128-bit key is a hash of the four.
    """
    name = f"{seed}/{purpose}/{rank}/{step}".encode()
    key = np.frombuffer(hashlib.blake2b(name, digest_size=16).digest(), dtype="<u8")
    return np.random.Generator(np.random.Philox(key=key.astype(np.uint64)))
