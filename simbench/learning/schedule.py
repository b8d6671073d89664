"""What a learning-rate schedule is: a factor that depends on the number of steps taken.

Schedules are chained: each begins when the one before has ended, and where that has ended.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from simbench.spec import Spec


class Schedule(Spec, ABC):
    """A choice of schedule; its fields are the YAML keys."""

    kind: str

    @property
    @abstractmethod
    def duration(self) -> int | None:
        """Steps until it has ended; None if it never does."""

    @abstractmethod
    def factor_at(self, step: int, num_workers: int) -> float:
        """Return the factor on the learning rate after ``step`` steps of this schedule's own.

        ``step`` is 0 for the first one, and ``duration`` at most.
        """


def chain_factor(chain: Sequence[Schedule], step: int, num_workers: int) -> float:
    """Return the factor on the learning rate for the optimiser's step number ``step``, from 0.

    The factors at which schedules have ended multiply that of the one under way.
    """
    product = 1.0
    for schedule in chain:
        lasts = schedule.duration is None or step < schedule.duration
        own_step = step if schedule.duration is None else min(step, schedule.duration)
        product *= schedule.factor_at(own_step, num_workers)
        if lasts:
            break
        step -= own_step
    return product
