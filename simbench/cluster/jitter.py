"""What a law of jitter is: a random factor with mean 1 on the time of a step."""

from abc import ABC, abstractmethod

import numpy as np

from simbench.seeds import generator
from simbench.spec import Spec


class Jitter(Spec, ABC):
    """A choice of law; its fields are the YAML keys."""

    kind: str

    @abstractmethod
    def factor(self, seed: int, rank: int, step: int) -> float:
        """Return the positive factor on gradient number ``step`` of node ``rank``.

        Its mean is 1. It depends on nothing but the arguments: the same step of the same node is
        as slow for every strategy.
        """


def draws(seed: int, rank: int, step: int) -> np.random.Generator:
    """Return the generator of one step's jitter, the same for every law."""
    return generator(seed, "step time", rank, step)
