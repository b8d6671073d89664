"""One direction of a TCP connection: messages in turn, as fast as windows and chance allow."""

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from simpy.events import Event

from simbench.network.flow import Flow, Route
from simbench.network.window import Window
from simbench.seeds import generator

if TYPE_CHECKING:
    from simbench.network.connections import Connections

_CUBIC_SEGMENTS = 1.64
"""From RFC 9438, sections 5.1 and 5.2: W = 1.054 RTT^(3/4) p^(-3/4), and Reno's sqrt(1.5/p)."""
_MANY = 16
"""Among so many flows, one that leaves makes no other so much faster that its window counts."""


class _Message(NamedTuple):
    num_bytes: int
    due_ns: int
    """When its first bit arrives, if the connection is free by then."""
    finished: Callable[[], Any]
    cut: Callable[[int], Any] | None


class Connection:
    """One direction of a connection."""

    def __init__(self, connections: "Connections", sender: int, receiver: int) -> None:
        self._connections = connections
        self._tcp = connections.tcp
        self._fabric = connections.fabric
        self._sender, self._receiver = sender, receiver
        self._queue: deque[_Message] = deque()
        self._num_messages = 0
        self._chance = 1.0
        self._flow: Flow | None = None
        self._route = self._fabric.route(sender, receiver)
        self._window = Window(
            self._tcp.initial_window * self._tcp.segment, self._tcp.segment, self._tcp.max_window
        )
        if self._tcp.warm:
            self._window.settle(self._filled_bytes)
        self._acknowledged: tuple[Route, Route] | None = None
        """The ways of data, and of acknowledgements that travel without data."""

    def send(
        self, num_bytes: int, finished: Callable[[], Any], cut: Callable[[int], Any] | None
    ) -> None:
        """Send a message behind those that wait."""
        now_ns = self._fabric.now_ns
        if not self._queue:
            self._window.begin(now_ns, self._round_trip_ns + round(self._queue_ns))
        latency_ns = self._fabric.route(self._sender, self._receiver).latency_ns
        due_ns = now_ns + latency_ns + self._tcp.overhead
        self._queue.append(_Message(num_bytes, due_ns, finished, cut))
        if len(self._queue) == 1:
            self._start()

    # -- what a connection is like

    @property
    def _round_trip_ns(self) -> int:
        # Where there is no way, a message is cut at once.
        return max(0, self._route.latency_ns) + max(0, self._back.latency_ns)

    @property
    def _back(self) -> Route:
        return self._fabric.route(self._receiver, self._sender)

    @property
    def _queue_ns(self) -> float:
        """Time that a full queue in front of the slowest link takes."""
        return 8e9 * self._tcp.queue / self._route.limit_bps if self._route.limit_bps else 0.0

    @property
    def _filled_bytes(self) -> float:
        """What is on its way when a connection alone has filled its slowest link and the queue."""
        return self._route.limit_bps * self._round_trip_ns / 8e9 + self._tcp.queue

    # -- a message

    def _start(self) -> None:
        message = self._queue[0]
        # A link may have failed since the last one, or have been mended.
        route = self._route = self._fabric.route(self._sender, self._receiver)
        weight, wire_bytes = 1.0, self._tcp.wire_bytes(message.num_bytes)
        cap_bps = None
        if message.num_bytes > self._tcp.segment:
            wire_bytes += route.limit_bps * self._tcp.gap // (8 * 10**9)
            self._chance = self._draw_share(message.num_bytes)
            weight = self._weight()
            cap_bps = self._cap_bps()
            self._occupy()
        self._num_messages += 1
        self._flow = self._fabric.carry(
            self._sender,
            self._receiver,
            message.num_bytes,
            self._arrive,
            weight=weight,
            cap_bps=cap_bps,
            # Part of the latency has passed while it waited for its turn.
            delay_ns=max(0, message.due_ns - self._fabric.now_ns) - route.latency_ns,
            expansion=wire_bytes / message.num_bytes if message.num_bytes else 1.0,
            cut=self._lose if message.cut else None,
        )
        if self._opens and message.num_bytes > self._tcp.segment:
            self._open_later(self._flow, after_ns=max(0, message.due_ns - self._fabric.now_ns))

    @property
    def _fairness(self) -> float:
        """Return the weight that round trips give it among others on a full link."""
        queue_ns = self._queue_ns
        if not queue_ns:
            return 1.0
        felt_s = (self._round_trip_ns + queue_ns) / 1e9
        # As one of two. With the same losses, CUBIC's window grows as RTT^(3/4) and Reno's not at
        # all; they are equal at 1.64 RTT^(-3/2) segments, above which CUBIC's is the larger.
        window_segments = self._route.limit_bps / 2 * felt_s / (8 * self._tcp.frame)
        gamma = 0.25 if window_segments > _CUBIC_SEGMENTS * felt_s**-1.5 else 1.0
        return float((felt_s * 1e9 / queue_ns) ** -gamma)

    def _draw_share(self, num_bytes: int) -> float:
        """Return by what chance multiplies the share of a message."""
        if not self._tcp.drift:
            return 1.0
        purpose = f"share to node {self._receiver}"
        draw = generator(self._connections.seed, purpose, self._sender, self._num_messages)
        sigma = self._tcp.drift / (1 + num_bytes / max(1, self._tcp.queue))
        return math.exp(sigma * draw.standard_normal())

    def _arrive(self) -> None:
        message = self._queue.popleft()
        self._end(message.num_bytes)
        if self._queue:
            self._start()
        message.finished()

    def _lose(self, bytes_left: int) -> None:
        message = self._queue.popleft()
        self._end(message.num_bytes)
        if self._queue:
            self._start()
        assert message.cut is not None
        message.cut(bytes_left)

    # -- who shares with it

    def _occupy(self) -> None:
        for link in self._route.links:
            self._connections.on.setdefault(link, {})[self] = None
        opposite = self._connections.between(self._receiver, self._sender)
        if opposite.is_idle:
            self._acknowledged = self._route, self._back
            self._connections.acknowledgements.add(*self._acknowledged, 1)
        else:
            opposite.acknowledge_no_more()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is sent."""
        return not self._queue

    def acknowledge_no_more(self) -> None:
        """Let acknowledgements travel with data, or none be needed."""
        if self._acknowledged is not None:
            self._connections.acknowledgements.add(*self._acknowledged, -1)
            self._acknowledged = None

    def _end(self, num_bytes: int) -> None:
        self._flow = None
        if num_bytes <= self._tcp.segment:
            return
        self.acknowledge_no_more()
        self._window.end(self._fabric.now_ns)
        others: dict[Connection, None] = {}
        for link in self._route.links:
            del self._connections.on[link][self]
            others |= self._connections.on[link]
        full_bytes = self._filled_bytes
        if num_bytes > self._tcp.queue:
            full_bytes /= 1 + len(others)
        used_bytes = max(self._window.num_bytes, 2 * num_bytes)
        if not self._window.slow_start or used_bytes >= full_bytes:
            self._window.settle(min(used_bytes, full_bytes))
        if len(others) < _MANY:
            for other in others:
                other.is_left_alone()

    # -- windows

    def _cap_bps(self) -> int | None:
        """Return how fast a flow may be on empty links; None if these alone limit it."""
        cap_bps = min(self._window_bps, self._most_bps)
        return max(1, round(cap_bps)) if cap_bps < self._route.limit_bps else None

    def _weight(self) -> float:
        """Return the share of a full link that its window gives it among others."""
        opened = min(1.0, self._window.num_bytes / max(1.0, self._filled_bytes))
        return self._fairness * self._chance * opened

    @property
    def _window_bps(self) -> float:
        """How fast its window lets it be where no queue is in its way, headers included."""
        return self._window.rate_bps(self._round_trip_ns) * self._tcp.frame / self._tcp.segment

    @property
    def _most_bps(self) -> float:
        """What buffers and loss allow, headers included."""
        round_trip_ns = self._round_trip_ns
        if not round_trip_ns:
            return math.inf
        most_bps = 8e9 * self._tcp.max_window / round_trip_ns
        if self._route.loss:
            most_bps = min(most_bps, self._tcp.lossy_rate_bps(round_trip_ns, self._route.loss))
        return most_bps * self._tcp.frame / self._tcp.segment

    @property
    def _felt_round_trip_ns(self) -> int:
        """The round trip, behind a full queue where others are."""
        here = self._connections.on
        shared = any(len(here.get(link, {}).keys() - {self}) for link in self._route.links)
        return self._round_trip_ns + round(self._queue_ns) * shared

    @property
    def _opens(self) -> bool:
        """Whether its window still counts, and will be larger a round trip later."""
        if self._window.slow_start and self._window.num_bytes < self._filled_bytes:
            return True
        return self._window_bps < min(self._route.limit_bps, self._most_bps)

    def is_left_alone(self) -> None:
        """Go on with the window of a flow that shared a full link: it may not fill one."""
        flow = self._flow
        if flow is None or not flow.under_way or self._window.slow_start:
            return
        if flow.num_bytes <= self._tcp.queue:
            return
        self._window.settle(flow.rate_bps * (self._round_trip_ns + self._queue_ns) / 8e9)
        if flow.cap_bps is None and (cap_bps := self._cap_bps()) is not None:
            self._fabric.cap(flow, cap_bps)
            self._open_later(flow)

    def _open_later(self, flow: Flow, after_ns: int = 0) -> None:
        """Let the window grow once a round trip has passed, which begins after ``after_ns``."""
        event = self._fabric.after(max(1, after_ns + self._felt_round_trip_ns))
        event.callbacks.append(partial(self._open, flow))

    def _open(self, flow: Flow, _: Event) -> None:
        if flow is not self._flow:
            return
        self._window.grow()
        if self._window.slow_start:
            self._fabric.weigh(flow, self._weight())
        if flow.cap_bps is not None:
            self._fabric.cap(flow, self._cap_bps())
        if self._opens:
            self._open_later(flow)
