"""Going back to the last state that was kept."""

from typing import ClassVar, Literal

from simbench.policy import Policy
from simbench.units import Nanoseconds


class Restart(Policy):
    """When a failure is detected, all go back to the last checkpoint, and on from there.

    They don't wait for the node that failed: those who are left go on, as with ``go_on``, and it
    joins when it is back. One that is back by then gets the checkpoint from a member over the
    network; the others have theirs at hand. All keep their state in the same round, the first that
    ends ``interval`` after the checkpoint before; until all have, the one before counts.

    Source:
        torch.distributed.elastic (docs.pytorch.org/docs/stable/elastic/train_script.html): when a
        worker fails all are restarted, and lose what came after the last checkpoint; Daly, "A
        higher order estimate of the optimum checkpoint interval for restart dumps", Future
        Generation Computer Systems 22 (2006) (what an interval costs).
    """

    kind: Literal["restart"] = "restart"
    detection: Nanoseconds = 10**9
    """Time from a failure until the others know of it, as a time-out takes."""
    interval: Nanoseconds = 600 * 10**9
    """Time of work from one checkpoint to the next."""
    cost: Nanoseconds = 0
    """Time that a node takes to write a checkpoint, and computes nothing."""
    recovery: Nanoseconds = 0
    """Time from the detection until training begins again: starting programs, reading states."""

    rolls_back: ClassVar[bool] = True

    @property
    def detection_ns(self) -> int:
        """What ``detection`` says."""
        return self.detection

    @property
    def recovery_ns(self) -> int:
        """What ``recovery`` says."""
        return self.recovery
