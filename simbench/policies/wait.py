"""Waiting until a node is back."""

from typing import ClassVar, Literal

from simbench.policy import Policy


class Wait(Policy):
    """Whoever needs a node that is down waits until it is back, with its memory as it was."""

    kind: Literal["wait"] = "wait"

    goes_on: ClassVar[bool] = False
