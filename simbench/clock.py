"""The virtual clock: SimPy with integer nanoseconds, and an order of its own at equal times.

SimPy runs what falls on the same instant in the order of scheduling, which depends on details of
the program. Here, whatever becomes ready at the same nanosecond goes on in the order (receiver's
rank, sender's rank, message number). What goes wrong then goes wrong after that, and how links are
shared is worked out last.
"""

from collections.abc import Callable
from typing import Any

import simpy
from simpy.events import NORMAL, Event, EventPriority

_AFTERWARDS = 1 << 90
_LAST = 1 << 100


class Clock(simpy.Environment):
    """A SimPy environment that counts integer nanoseconds from 0."""

    def __init__(self) -> None:
        super().__init__()
        # SimPy does so for environments of its own class: attributes are found faster.
        for name in ("event", "process", "timeout"):
            setattr(self, name, getattr(self, name))

    @property
    def now_ns(self) -> int:
        """The virtual time."""
        return self._now  # type: ignore[return-value]  # only integers are ever added

    @property
    def next_ns(self) -> int | None:
        """When the next event is due; None if nothing will ever happen again."""
        return self._queue[0][0] if self._queue else None  # type: ignore[return-value]

    @property
    def num_scheduled(self) -> int:
        """How many events are due, now or later."""
        return len(self._queue)

    def ready(
        self,
        event: Event,
        value: Any,
        *,
        receiver: int,
        sender: int,
        number: int,
        delay_ns: int = 0,
    ) -> None:
        """Trigger ``event`` after ``delay_ns``, in its place among what is ready at that instant.

        ``number`` must be below 2^32 and a rank below 2^20.
        """
        order = (receiver << 52) | (sender << 32) | number
        self._trigger(event, value, NORMAL + 1 + order, delay_ns)

    def afterwards(self, event: Event, number: int, delay_ns: int = 0) -> None:
        """Trigger ``event`` after ``delay_ns``, behind all that is ready then, by ``number``."""
        self._trigger(event, None, _AFTERWARDS + number, delay_ns)

    def last(self, event: Event) -> None:
        """Trigger ``event`` after everything else that is ready now."""
        self._trigger(event, None, _LAST, 0)

    def _trigger(self, event: Event, value: Any, priority: int, delay_ns: int) -> None:
        # What Event.succeed() does, with a priority of our own and a delay.
        event._ok, event._value = True, value  # noqa: SLF001
        self.schedule(event, priority=EventPriority(priority), delay=delay_ns)


class Recurring(Event):
    """Something that happens again and again, without a new event of SimPy each time.

    It may be due at several moments at once.
    """

    def __init__(self, clock: Clock, happen: Callable[[], Any]) -> None:
        """Call ``happen`` whenever it is due; nothing is due yet."""
        super().__init__(clock)
        self._ok, self._value = True, None
        self._happen = happen
        self._again: list[Callable[[Any], None]] = [self._call]
        self.callbacks = self._again

    def _call(self, _: Event) -> None:
        # SimPy has taken the callbacks off, as off an event that happens once.
        self.callbacks = self._again
        self._happen()
