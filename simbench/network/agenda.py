"""What is to happen to flows, and when: one event of SimPy for the next moment that counts."""

import heapq
from collections.abc import Callable, Sequence

from simpy.events import NORMAL

from simbench.clock import Clock, Recurring
from simbench.network.flow import NEVER, Aggregate, Flow

_NOTHING = float("inf")
_BUSY = -1


class Agenda:
    """Moments to come. What has changed its mind is passed over, and needs no event."""

    def __init__(
        self,
        clock: Clock,
        happen: Callable[[int, Sequence[Flow | Aggregate], Sequence[Flow]], bool],
    ) -> None:
        """``happen(now_ns, ends, begins)`` is called at every moment that counts.

        What ends then may have changed its mind since that was noted. If it returns that there is
        more to come before time goes on, ``go_on`` must be called after that.
        """
        self._clock = clock
        self._happen = happen
        self._alarm = Recurring(clock, self._ring)
        self._ends: dict[int, list[Flow | Aggregate]] = {}
        self._begins: dict[int, list[Flow]] = {}
        self._times: list[int] = []
        self._next_ns: float = _NOTHING
        """When it rings for something that counts."""
        self._alarms: set[int] = set()
        """All moments at which it rings: SimPy can't take one back."""

    @property
    def num_alarms(self) -> int:
        """How many events of the clock are set."""
        return len(self._alarms)

    def begin(self, flow: Flow, time_ns: int) -> None:
        """Note that the first bit of ``flow`` arrives at ``time_ns``."""
        noted = self._begins.get(time_ns)
        if noted is None:
            self._begins[time_ns] = [flow]
            heapq.heappush(self._times, time_ns)
            if time_ns < self._next_ns:
                self._set_alarm(time_ns)
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
            heapq.heappush(self._times, time_ns)
            if time_ns < self._next_ns:
                self._set_alarm(time_ns)
        else:
            noted.append(each)

    def go_on(self) -> None:
        """Set the alarm for the next moment that counts, if a moment has been dealt with."""
        if self._next_ns != _BUSY:
            return
        times, begins, ends = self._times, self._begins, self._ends
        while times:
            time_ns = times[0]
            if time_ns in begins or (time_ns in ends and self._ends_then(time_ns)):
                self._set_alarm(time_ns)
                return
            heapq.heappop(times)
            ends.pop(time_ns, None)
        self._next_ns = _NOTHING

    def waiting(self) -> list[Flow]:
        """Return the flows whose first bit hasn't arrived yet."""
        return [flow for flows in self._begins.values() for flow in flows]

    def strike(self, flows: frozenset[Flow]) -> None:
        """Forget that ``flows`` were to begin."""
        for time_ns, noted in self._begins.items():
            self._begins[time_ns] = [flow for flow in noted if flow not in flows]

    def _set_alarm(self, time_ns: int) -> None:
        self._next_ns = time_ns
        if time_ns not in self._alarms:
            self._alarms.add(time_ns)
            self._clock.schedule(self._alarm, NORMAL, time_ns - self._clock.now_ns)

    def _ring(self) -> None:
        now_ns = self._clock.now_ns
        self._alarms.discard(now_ns)
        if now_ns != self._next_ns:
            return
        self._next_ns = _BUSY
        more = self._happen(now_ns, self._ends.pop(now_ns, ()), self._begins.pop(now_ns, ()))
        if not more:
            self.go_on()

    def _ends_then(self, time_ns: int) -> bool:
        for each in self._ends[time_ns]:  # noqa: SIM110 - twice as fast as any()
            if each.ends_ns == time_ns:
                return True
        return False
