"""The fabric: flows under way over a topology, on the virtual clock."""

import math
from collections.abc import Callable

from simpy.events import Event

from simbench.clock import Clock
from simbench.network.sharing import max_min_rates
from simbench.network.topology import Network, Topology

# A flow that ends on a nanosecond exactly isn't pushed to the next by the last bit of a float.
_ROUNDING_NS = 1e-3


class Flow:
    """Bytes on their way over some links; its rate changes as others come and go."""

    __slots__ = ("bits_left", "ends_ns", "finished", "links", "num_bytes", "rate_bps")

    def __init__(
        self, links: tuple[int, ...], num_bytes: int, finished: Callable[[], None]
    ) -> None:
        self.links = links
        self.num_bytes = num_bytes
        self.bits_left = 8.0 * num_bytes
        self.finished = finished
        self.rate_bps = 0.0
        self.ends_ns = 0


class Fabric:
    """Carries bytes: the latency of the path first, then a fair share of its links until the last.

    Rates are worked out once per instant, after everything that happens at it.
    """

    def __init__(self, clock: Clock, topology: Topology, num_nodes: int) -> None:
        self._clock = clock
        self.network = Network(topology, num_nodes)
        self._link_rates = [link.rate_bps for link in self.network.links]
        self._carried: dict[int, int] = {}
        self._flows: list[Flow] = []
        self._shared_ns = 0
        self._resharing = False
        self._alarm: Event | None = None

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], None],
        hops_in_turn: int = 1,
    ) -> None:
        """Begin to carry ``num_bytes``; call ``finished`` when the last one arrives.

        ``hops_in_turn`` counts how often the latency is waited for: a flow that stands for a
        chain of messages has as many as the chain has links.
        """
        if sender == receiver:
            self._after(0, finished)
            return
        path = self.network.path(sender, receiver)
        latency_ns = path.latency_ns * hops_in_turn
        if not path.links or not num_bytes:
            self._after(latency_ns, finished)
            return
        flow = Flow(path.links, num_bytes, finished)
        if latency_ns:
            self._after(latency_ns, lambda: self._join(flow))
        else:
            self._join(flow)

    def carried_bytes(self) -> dict[int, int]:
        """Return the bytes that links have carried of flows that are through."""
        return self._carried

    def _after(self, delay_ns: int, action: Callable[[], None]) -> None:
        if not delay_ns:
            action()
            return
        timeout = self._clock.timeout(delay_ns)
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: action())

    def _join(self, flow: Flow) -> None:
        self._flows.append(flow)
        self._reshare_soon()

    def _reshare_soon(self) -> None:
        if not self._resharing:
            self._resharing = True
            event = Event(self._clock)
            assert event.callbacks is not None
            event.callbacks.append(lambda _: self._reshare())
            self._clock.last(event)

    def _reshare(self) -> None:
        """Bring every flow up to now, end those that are done, share the links among the rest."""
        self._resharing = False
        now_ns = self._clock.now_ns
        elapsed_s = (now_ns - self._shared_ns) / 1e9
        self._shared_ns = now_ns
        done, going = [], []
        for flow in self._flows:
            if flow.rate_bps and flow.ends_ns <= now_ns:
                done.append(flow)
                for link in flow.links:
                    self._carried[link] = self._carried.get(link, 0) + flow.num_bytes
            else:
                flow.bits_left -= flow.rate_bps * elapsed_s
                going.append(flow)
        self._flows = going
        rates = max_min_rates([flow.links for flow in going], self._link_rates)
        for flow, rate in zip(going, rates, strict=True):
            if rate != flow.rate_bps:
                flow.rate_bps = rate
                left_ns = flow.bits_left / rate * 1e9
                flow.ends_ns = now_ns + max(1, math.ceil(left_ns - _ROUNDING_NS))
        self._set_alarm()
        for flow in done:
            flow.finished()

    def _set_alarm(self) -> None:
        """Wake up when the next flow ends; an alarm that was set before no longer counts."""
        if not self._flows:
            self._alarm = None
            return
        earliest_ns = min(flow.ends_ns for flow in self._flows)
        alarm = self._alarm = self._clock.timeout(earliest_ns - self._clock.now_ns)
        assert alarm.callbacks is not None
        alarm.callbacks.append(lambda event: self._reshare_soon() if event is self._alarm else None)
