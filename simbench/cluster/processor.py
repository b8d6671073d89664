"""The processor of one node on the virtual clock: one thing at a time, first come first served."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import simpy
from simpy.events import Event, Process

from simbench.clock import Clock

_DOWN = object()
"""Why work is interrupted that isn't given up."""


class Release(NamedTuple):
    """A part of what a computation gives, which comes out before its end or at it."""

    after_ns: int
    """Time from the start of the computation."""
    event: Event
    """Triggered then."""
    value: Callable[[], Any]
    """Asked then for what the event brings."""


class Processor:
    """Lets virtual time pass for computations, in turn."""

    def __init__(self, clock: Clock, rank: int, worked: Callable[[int, int, int], None]) -> None:
        """``worked(rank, start_ns, end_ns)`` is told of every stretch of work."""
        self._clock = clock
        self._rank = rank
        self._worked = worked
        self._turns = simpy.Resource(clock)
        self._occupants: dict[Process, None] = {}
        self._started_ns: int | None = None
        self._working: Process | None = None
        """What a stop has to interrupt."""
        self._up_again: Event | None = None
        """While the processor is down: its return."""
        self.num_attempts = 0
        """How often the work under way was begun."""

    def occupy(
        self, duration_ns: int, done: Event, value: Any, releases: Sequence[Release] = ()
    ) -> Process:
        """Trigger ``done`` with ``value`` when its turn has come and ``duration_ns`` have passed.

        ``releases``, in the order of time and none behind the end, are triggered on the way.
        Interrupt the process that is returned to give the work up, with what it hasn't released.
        """
        process = self._clock.process(self._work(duration_ns, done, value, releases))
        self._occupants[process] = None
        assert process.callbacks is not None
        process.callbacks.append(self._forget)
        return process

    def abandon(self) -> None:
        """Give up all work, that under way and that in the queue."""
        for process in self._occupants:
            if process.is_alive:
                process.interrupt()

    def _forget(self, process: Event) -> None:
        assert isinstance(process, Process)
        del self._occupants[process]

    @property
    def busy_since_ns(self) -> int | None:
        """Start of the work under way; None when idle."""
        return self._started_ns

    @property
    def num_held(self) -> int:
        """Computations under way or in the queue."""
        return self._turns.count + len(self._turns.queue)

    def stop(self) -> None:
        """Compute nothing until ``start``: the work under way is lost, and begins anew then."""
        self._up_again = Event(self._clock)
        if self._working is not None:
            self._working.interrupt(_DOWN)
            self._working = None

    def start(self) -> None:
        """Go on after ``stop``."""
        assert self._up_again is not None
        self._up_again.succeed()
        self._up_again = None

    def _work(
        self, duration_ns: int, done: Event, value: Any, releases: Sequence[Release]
    ) -> Generator[Event, Any, None]:
        with self._turns.request() as turn:
            try:
                yield turn
                self.num_attempts = 0
                while not (yield from self._attempt(duration_ns, releases)):
                    pass
            except simpy.Interrupt:
                return
            finally:
                if self._started_ns is not None and turn.processed:
                    self._end_stretch()
        self._ready(done, value)

    def _attempt(
        self, duration_ns: int, releases: Sequence[Release]
    ) -> Generator[Event, Any, bool]:
        """Let ``duration_ns`` pass; return whether no stop came between."""
        while self._up_again is not None:
            yield self._up_again
        self.num_attempts += 1
        self._started_ns = self._clock.now_ns
        self._working = self._clock.active_process
        try:
            yield from self._pass(duration_ns, releases)
        except simpy.Interrupt as interrupt:
            if interrupt.cause is not _DOWN:
                raise
            self._end_stretch()
            return False
        return True

    def _pass(self, duration_ns: int, releases: Sequence[Release]) -> Generator[Event, Any, None]:
        passed_ns = 0
        for release in releases:
            if release.after_ns > passed_ns:
                yield self._clock.timeout(release.after_ns - passed_ns)
                passed_ns = release.after_ns
            # What came out before a stop is out.
            if not release.event.triggered:
                self._ready(release.event, release.value())
        if passed_ns < duration_ns or not releases:
            yield self._clock.timeout(duration_ns - passed_ns)

    def _end_stretch(self) -> None:
        assert self._started_ns is not None
        self._working = None
        self._worked(self._rank, self._started_ns, self._clock.now_ns)
        self._started_ns = None

    def _ready(self, event: Event, value: Any) -> None:
        self._clock.ready(event, value, receiver=self._rank, sender=self._rank, number=0)
