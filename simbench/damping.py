"""What damping is: how much an update counts that was computed from an old reading."""

from abc import ABC, abstractmethod
from typing import Annotated

from simbench.spec import OneOf, Spec


class Damping(Spec, ABC):
    """A choice of s(tau); its fields are the YAML keys."""

    kind: str

    @abstractmethod
    def factor(self, staleness: int) -> float:
        """Return s, the weight of an update between whose reading and adding others were applied.

        Args:
            staleness: tau, how many those were: 0 for an update from the newest parameters, which
                has weight 1.

        Returns:
            At least 0 and at most 1, and no more for a larger ``staleness``.
        """


DampingChoice = Annotated[Damping, OneOf("simbench.dampings")]
"""A choice of damping, as a strategy's field."""
