"""What a law of jitter is: a random factor with mean 1 on the time of a step."""

from abc import ABC, abstractmethod

import numpy as np

from simbench.spec import Spec


class Jitter(Spec, ABC):
    """A choice of law; its fields are the YAML keys."""

    kind: str

    @abstractmethod
    def factor(self, draw: np.random.Generator) -> float:
        """Return a positive factor; its mean over draws is 1."""
