"""What a policy is: what a strategy does when a node fails, and when one joins."""

from abc import ABC
from typing import ClassVar

from simbench.spec import Spec


class Policy(Spec, ABC):
    """A choice of what to do without a node; its fields are the YAML keys."""

    kind: str

    goes_on: ClassVar[bool] = True
    """Whether nodes that are down are told from others, and training goes on without them."""
    rolls_back: ClassVar[bool] = False
    """Whether all then go back to the last state that was kept."""

    @property
    def detection_ns(self) -> int:
        """Time from a failure until the others know of it."""
        return 0

    @property
    def recovery_ns(self) -> int:
        """Time from then until those who go back begin to train."""
        return 0
