"""The processor of one node on the virtual clock: one thing at a time, first come first served."""

from collections.abc import Callable, Generator
from typing import Any

import simpy
from simpy.events import Event, Process

from simbench.clock import Clock


class Processor:
    """Lets virtual time pass for computations, in turn."""

    def __init__(self, clock: Clock, rank: int, worked: Callable[[int, int, int], None]) -> None:
        """``worked(rank, start_ns, end_ns)`` is told of every stretch of work."""
        self._clock = clock
        self._rank = rank
        self._worked = worked
        self._turns = simpy.Resource(clock)
        self._started_ns: int | None = None

    def occupy(self, duration_ns: int, done: Event, value: Any) -> Process:
        """Trigger ``done`` with ``value`` when its turn has come and ``duration_ns`` have passed.

        Interrupt the process that is returned to give the work up.
        """
        return self._clock.process(self._work(duration_ns, done, value))

    @property
    def busy_since_ns(self) -> int | None:
        """Start of the work under way; None when idle."""
        return self._started_ns

    def _work(self, duration_ns: int, done: Event, value: Any) -> Generator[Event, Any, None]:
        with self._turns.request() as turn:
            try:
                yield turn
                self._started_ns = self._clock.now_ns
                yield self._clock.timeout(duration_ns)
            except simpy.Interrupt:
                return
            finally:
                if self._started_ns is not None and turn.processed:
                    self._worked(self._rank, self._started_ns, self._clock.now_ns)
                    self._started_ns = None
        self._clock.ready(done, value, receiver=self._rank, sender=self._rank, number=0)
