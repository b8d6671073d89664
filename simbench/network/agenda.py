"""What is to happen to flows, and when: one event of SimPy for the next moment that counts."""

import heapq
from collections.abc import Callable

from simpy.events import Event

from simbench.clock import Clock
from simbench.network.flow import NEVER, Aggregate, Flow

_NOTHING = float("inf")
_BUSY = -1


class Agenda:
    """Moments to come. What has changed its mind is passed over, and needs no event."""

    def __init__(self, clock: Clock, happen: Callable[[int], None]) -> None:
        """``happen(now_ns)`` is called at every moment that counts; it takes what is due."""
        self._clock = clock
        self._happen = happen
        self._ends: dict[int, list[Flow | Aggregate]] = {}
        self._begins: dict[int, list[Flow]] = {}
        self._times: list[int] = []
        self._next_ns: float = _NOTHING
        """The alarm that counts."""
        self._alarms: set[int] = set()
        """All that are set: SimPy can't take one back."""

    @property
    def num_alarms(self) -> int:
        """How many events of the clock are set."""
        return len(self._alarms)

    def begin(self, flow: Flow, time_ns: int) -> None:
        """Note that the first bit of ``flow`` arrives at ``time_ns``."""
        noted = self._begins.get(time_ns)
        if noted is None:
            self._begins[time_ns] = [flow]
            self._note(time_ns)
        else:
            noted.append(flow)

    def end(self, each: Flow | Aggregate) -> None:
        """Note when a flow, or the first of an aggregate, ends; what was noted no longer counts."""
        time_ns = each.ends_ns
        if time_ns == NEVER:
            return
        noted = self._ends.get(time_ns)
        if noted is None:
            self._ends[time_ns] = [each]
            self._note(time_ns)
        else:
            noted.append(each)

    def due(self, now_ns: int) -> tuple[list[Flow | Aggregate], list[Flow]]:
        """Take out what was noted to end now, and what begins now."""
        return self._ends.pop(now_ns, []), self._begins.pop(now_ns, [])

    def waiting(self) -> list[Flow]:
        """Return the flows whose first bit hasn't arrived yet."""
        return [flow for flows in self._begins.values() for flow in flows]

    def strike(self, flows: frozenset[Flow]) -> None:
        """Forget that ``flows`` were to begin."""
        for time_ns, noted in self._begins.items():
            self._begins[time_ns] = [flow for flow in noted if flow not in flows]

    def _note(self, time_ns: int) -> None:
        heapq.heappush(self._times, time_ns)
        if time_ns < self._next_ns:
            self._set_alarm(time_ns)

    def _set_alarm(self, time_ns: int) -> None:
        self._next_ns = time_ns
        if time_ns not in self._alarms:
            self._alarms.add(time_ns)
            alarm = self._clock.timeout(time_ns - self._clock.now_ns)
            alarm.callbacks.append(self._ring)

    def _ring(self, _: Event) -> None:
        now_ns = self._clock.now_ns
        self._alarms.discard(now_ns)
        if now_ns != self._next_ns:
            return
        self._next_ns = _BUSY
        self._happen(now_ns)
        times = self._times
        while times and not self._counts(times[0]):
            self._ends.pop(heapq.heappop(times), None)
        self._next_ns = _NOTHING
        if times:
            self._set_alarm(times[0])

    def _counts(self, time_ns: int) -> bool:
        if time_ns in self._begins:
            return True
        for each in self._ends.get(time_ns, ()):  # noqa: SIM110 - twice as fast as any()
            if each.ends_ns == time_ns:
                return True
        return False
