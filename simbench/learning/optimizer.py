"""What an optimiser is: settings that make one of torch's own, and what goes in front of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import nn

from simbench.learning.schedule import Schedule
from simbench.learning.transform import Transform
from simbench.spec import OneOf, Spec, misfit

# A list will do as well: JSON has no tuples.
Chain = Annotated[
    tuple[Annotated[Transform, OneOf("simbench.learning.transforms")], ...], Field(strict=False)
]
"""Gradient transformations, in their order."""

Schedules = Annotated[
    tuple[Annotated[Schedule, OneOf("simbench.learning.schedules")], ...], Field(strict=False)
]
"""Learning-rate schedules, one after the other."""


class Optimizer(Spec, ABC):
    """A choice of optimiser; its fields are the YAML keys."""

    kind: str
    learning_rate: PositiveFloat = 0.1
    """Step size; a strategy's own ``learning_rate`` replaces it."""
    transforms: Chain = ()
    """What is done to the gradient before the step, in this order; by default nothing."""
    schedule: Schedules = ()
    """How the learning rate changes, one after the other; by default it doesn't."""

    @model_validator(mode="after")
    def _all_schedules_begin(self) -> "Optimizer":
        for place, schedule in enumerate(self.schedule[:-1], 1):
            if schedule.duration is None:
                raise misfit(
                    ("schedule", place),
                    f"never begins: {schedule.kind} before it goes on for ever without steps",
                )
        return self

    @property
    def draws(self) -> bool:
        """Whether one of its transformations draws."""
        return any(transform.draws for transform in self.transforms)

    @property
    def memory_vectors(self) -> int:
        """How many numbers it and its transformations remember per parameter."""
        return self.state_vectors + sum(each.state_vectors for each in self.transforms)

    @property
    def is_entrywise(self) -> bool:
        """Whether an entry's step depends on that entry alone, so that vectors may be cut."""
        return not any(each.needs_whole or each.draws for each in self.transforms)

    @property
    @abstractmethod
    def state_vectors(self) -> int:
        """How many numbers torch's optimiser remembers per parameter, from one step to the next."""

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return torch's optimiser over ``parameters``."""
