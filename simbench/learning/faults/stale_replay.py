"""Gradients of long ago."""

from typing import Literal

from pydantic import PositiveInt

from simbench.learning.fault import Fault


class StaleReplay(Fault):
    """g becomes the node's own gradient of ``steps`` steps ago, at first its very first one."""

    kind: Literal["stale_replay"] = "stale_replay"
    steps: PositiveInt = 10
    """k: the age of what it replays, in its own steps."""

    @property
    def age(self) -> int:
        """As many as it says."""
        return self.steps
