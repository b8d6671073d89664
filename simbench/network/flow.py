"""What shares: links, the flows over them, and aggregates of flows that are always served alike."""

import heapq
import math
from collections.abc import Callable
from typing import Any

# A flow that ends on a nanosecond exactly isn't pushed to the next by the last bit of a float.
_ROUNDING_NS = 1e-3
# A weight of 1. Weights are whole numbers, so that sums of them stay exact as flows come and go.
_ONE = 2**64

NEVER = 0
"""The moment at which nothing ends: every flow takes a nanosecond at least."""


def ends_after_ns(bits: float, rate_bps: float) -> int:
    """Return the nanoseconds, at least 1, after which ``bits`` are through; rounded up."""
    return max(1, math.ceil(bits / rate_bps * 1e9 - _ROUNDING_NS))


class SharedLink:
    """One direction of a cable, with what is on it now."""

    __slots__ = (
        "aggregates",
        "at_limit_bps",
        "contended",
        "demand_bps",
        "flows",
        "greatest_limit",
        "index",
        "level",
        "rate_bps",
    )

    def __init__(self, index: int, rate_bps: int) -> None:
        self.index = index
        self.rate_bps = rate_bps
        self.flows: dict[Flow, None] = {}
        self.demand_bps = 0
        """What its flows would take, were each of them alone in the network."""
        self.contended = False
        """Whether that may be more than the link has. Where it isn't, the link slows nobody."""
        # What follows counts on contended links alone.
        self.aggregates: dict[Aggregate, None] = {}
        self.at_limit_bps = 0
        """What flows take that are slowed by nobody."""
        self.greatest_limit = 0.0
        """None of those has a larger limit per weight."""
        self.level = math.inf
        """Rate per weight at which the link is full; infinite while it isn't."""


class Route:
    """The way from one node to another."""

    __slots__ = ("jitter_ns", "latency_ns", "links", "num_bytes")

    def __init__(
        self, links: tuple[SharedLink, ...], latency_ns: int, jitter_ns: tuple[int, ...] = ()
    ) -> None:
        self.links = links
        self.latency_ns = latency_ns
        self.jitter_ns = jitter_ns
        self.num_bytes = 0
        """What has come through."""


class Flow:
    """Bytes on their way from one node to another."""

    __slots__ = (
        "aggregate",
        "bits_left",
        "cap_bps",
        "cut",
        "ends_ns",
        "finished",
        "limit_bps",
        "links",
        "num_bytes",
        "number",
        "receiver",
        "route",
        "sender",
        "since_ns",
        "tag",
        "ticket",
        "under_way",
        "weight",
    )

    def __init__(
        self,
        number: int,
        sender: int,
        receiver: int,
        route: Route,
        num_bytes: int,
        weight: float,
        cap_bps: int | None,
        finished: Callable[[], Any],
        cut: Callable[[int], Any] | None,
    ) -> None:
        self.number = number
        self.sender = sender
        self.receiver = receiver
        self.route = route
        self.links = route.links
        self.num_bytes = num_bytes
        self.weight = _ONE if weight == 1.0 else max(1, round(weight * _ONE))
        self.cap_bps = cap_bps
        self.finished = finished
        self.cut = cut
        self.under_way = False
        self.limit_bps = 0
        """Its rate, were it alone in the network."""
        self.bits_left = 8.0 * num_bytes
        """As of ``since_ns``; in an aggregate, ``tag`` tells them."""
        self.since_ns = 0
        self.ends_ns = NEVER
        """When the last bit is through, if it is on its way at its limit."""
        self.aggregate: Aggregate | None = None
        """Whom it shares with; None while it takes its limit."""
        self.ticket = 0
        """Its place in the queue of the aggregate; an earlier one no longer counts."""
        self.tag = 0.0
        """What its aggregate will have been served per weight when this flow is through."""

    def find_limit(self) -> None:
        """Work out the limit from what the links and the cap are now."""
        self.limit_bps = min([link.rate_bps for link in self.links], default=0)
        if self.cap_bps is not None and self.cap_bps < self.limit_bps:
            self.limit_bps = self.cap_bps

    def bits_left_at(self, now_ns: int) -> float:
        """Return how many bits aren't through yet."""
        if self.aggregate is not None:
            return max(0.0, (self.tag - self.aggregate.served_at(now_ns)) * self.weight)
        return max(0.0, self.bits_left - self.limit_bps * (now_ns - self.since_ns) / 1e9)

    @property
    def rate_bps(self) -> float:
        """How fast it is; 0 before its first bit and after its last."""
        if not self.under_way:
            return 0.0
        if self.aggregate is not None:
            return self.aggregate.level * self.weight
        return self.limit_bps


class Aggregate:
    """Flows over the same contended links, all at one rate per weight: its level.

    They are served like one: a virtual clock counts the bits served per weight since the
    aggregate began, and a flow is through when the clock shows the flow's tag. So a change of the
    level changes one number, however many flows there are.

    Source:
        Parekh and Gallager, "A generalized processor sharing approach to flow control in
        integrated services networks: the single-node case", IEEE/ACM Trans. Networking 1 (1993),
        section III.A (virtual time).
    """

    __slots__ = (
        "alarm_ns",
        "bottleneck",
        "ends_ns",
        "least_limit",
        "level",
        "links",
        "num_flows",
        "num_tickets",
        "queue",
        "served",
        "since_ns",
        "weight",
    )

    def __init__(self, links: tuple[SharedLink, ...], now_ns: int) -> None:
        self.links = links
        """The contended links of its flows; they may have others, that slow nobody."""
        self.weight = 0
        self.num_flows = 0
        self.num_tickets = 0
        self.level = 0.0
        """Bit/s per weight."""
        self.bottleneck: SharedLink | None = None
        """The full link that sets the level."""
        self.least_limit = math.inf
        """None of its flows has a smaller limit per weight."""
        self.served = 0.0
        """Bits per weight, as of ``since_ns``."""
        self.since_ns = now_ns
        self.queue: list[tuple[float, int, Flow]] = []
        """Flows by tag; those that have left are passed over."""
        self.ends_ns = NEVER
        """When the first flow is through."""
        self.alarm_ns = NEVER
        """When its owner will look next whether a flow is through."""

    def advance(self, now_ns: int) -> None:
        """Let the virtual clock go on to ``now_ns`` at the level that it had."""
        if now_ns != self.since_ns:
            self.served = self.served_at(now_ns)
            self.since_ns = now_ns

    def served_at(self, now_ns: float) -> float:
        """Return what the virtual clock shows at ``now_ns``."""
        return self.served + self.level * (now_ns - self.since_ns) / 1e9

    def add(self, flow: Flow, limit: float, now_ns: int) -> None:
        """Take ``flow`` in; ``limit`` is its limit per weight."""
        self.advance(now_ns)
        self.ends_ns = NEVER
        flow.aggregate = self
        flow.ends_ns = NEVER
        flow.tag = self.served + flow.bits_left / flow.weight
        flow.ticket = self.num_tickets
        self.num_tickets += 1
        heapq.heappush(self.queue, (flow.tag, flow.ticket, flow))
        self.weight += flow.weight
        self.num_flows += 1
        self.least_limit = min(self.least_limit, limit)

    def remove(self, flow: Flow, now_ns: int) -> None:
        """Let ``flow`` go, with the bits that it has left at ``now_ns``."""
        self.advance(now_ns)
        flow.bits_left = flow.bits_left_at(now_ns)
        flow.since_ns = now_ns
        flow.aggregate = None
        self.ends_ns = NEVER
        self.weight -= flow.weight
        self.num_flows -= 1

    def members(self) -> list[Flow]:
        """Return its flows, and forget those that have left."""
        self.queue = [each for each in self.queue if self._holds(each)]
        heapq.heapify(self.queue)
        return [flow for _, _, flow in self.queue]

    def done(self, now_ns: int) -> list[Flow]:
        """Return the flows that are through at ``now_ns``; they stay until they are removed."""
        served = self.served_at(now_ns + _ROUNDING_NS)
        through = []
        queue = self.queue
        while queue and (queue[0][0] <= served or not self._holds(queue[0])):
            entry = heapq.heappop(queue)
            if self._holds(entry):
                through.append(entry[2])
        return through

    def foresee(self) -> None:
        """Work out when the first flow is through at this level."""
        queue = self.queue
        while queue and not self._holds(queue[0]):
            heapq.heappop(queue)
        if queue and self.level:
            left = queue[0][0] - self.served
            self.ends_ns = self.since_ns + ends_after_ns(left, self.level)
        else:
            self.ends_ns = NEVER

    def _holds(self, entry: tuple[float, int, Flow]) -> bool:
        _, ticket, flow = entry
        return flow.aggregate is self and flow.ticket == ticket
