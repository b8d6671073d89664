"""What an optimiser is: settings that make one of torch's own."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from pydantic import PositiveFloat
from torch import nn

from simbench.spec import Spec


class Optimizer(Spec, ABC):
    """A choice of optimiser; its fields are the YAML keys."""

    kind: str
    learning_rate: PositiveFloat = 0.1
    """Step size; a strategy's own ``learning_rate`` replaces it."""

    @property
    def is_entrywise(self) -> bool:
        """Whether an entry's step depends on that entry alone, so that vectors may be cut."""
        return True

    @property
    @abstractmethod
    def state_vectors(self) -> int:
        """How many numbers it remembers per parameter, from one step to the next."""

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return torch's optimiser over ``parameters``."""
