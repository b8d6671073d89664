"""What shares: links, the flows over them, and aggregates of flows that are always served alike."""

import heapq
import math
from collections.abc import Callable
from typing import Any

# A flow that ends on a nanosecond exactly isn't pushed to the next by the last bit of a float.
_ROUNDING_NS = 1e-3
# A weight of 1. Weights are whole numbers, so that sums of them stay exact as flows come and go.
ONE = 2**64

NEVER = 0
"""The moment at which nothing ends: every flow takes a nanosecond at least."""


def whole_weight(weight: float) -> int:
    """Return ``weight`` as flows have it."""
    return ONE if weight == 1.0 else max(1, round(weight * ONE))


def ends_after_ns(bits: float, rate_bps: float) -> int:
    """Return the nanoseconds, at least 1, after which ``bits`` are through; rounded up."""
    return math.ceil(bits / rate_bps * 1e9 - _ROUNDING_NS) or 1


class SharedLink:
    """One direction of a cable, with what is on it now."""

    __slots__ = (
        "aggregates",
        "at_limit_bps",
        "burst_bits",
        "contended",
        "demand_bps",
        "flows",
        "greatest_limit",
        "index",
        "level",
        "nominal_bps",
        "quiet_since_ns",
        "rate_bps",
        "routes",
        "share",
        "tokens_bits",
    )

    def __init__(self, index: int, rate_bps: int, burst_bytes: int = 0) -> None:
        self.index = index
        self.nominal_bps = rate_bps
        """What it carries when it carries nothing but flows."""
        self.share = 1.0
        """What part of that is there for flows."""
        self.rate_bps = rate_bps
        self.burst_bits = 8.0 * burst_bytes
        """Depth of its token bucket: what passes at once when it is full."""
        self.tokens_bits = self.burst_bits
        """What the bucket held when the link fell quiet."""
        self.quiet_since_ns = 0
        self.routes: list[Route] = []
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

    def tokens_at(self, now_ns: int) -> float:
        """Return the bits that pass at once: it saves them up while nothing is on it."""
        if self.flows:
            return 0.0
        saved = self.rate_bps * (now_ns - self.quiet_since_ns) / 1e9
        return min(self.burst_bits, self.tokens_bits + saved)


class Route:
    """The way from one node to another."""

    __slots__ = (
        "bursts",
        "jitter_ns",
        "latency_ns",
        "limit_bps",
        "links",
        "loss",
        "num_bytes",
        "receiver",
        "sender",
    )

    def __init__(
        self,
        sender: int,
        receiver: int,
        links: tuple[SharedLink, ...],
        latency_ns: int,
        jitter_ns: tuple[int, ...] = (),
        loss: float = 0.0,
    ) -> None:
        self.sender = sender
        self.receiver = receiver
        self.links = links
        self.latency_ns = latency_ns
        self.jitter_ns = jitter_ns
        self.loss = loss
        self.bursts = all(link.burst_bits for link in links)
        """Whether anything may pass all of them at once."""
        self.num_bytes = 0
        """What has come through."""
        self.limit_bps = 0
        """The rate of its slowest link."""
        self.find_limit()
        for link in links:
            link.routes.append(self)

    def find_limit(self) -> None:
        """Look at the rates of the links anew."""
        self.limit_bps = min([link.rate_bps for link in self.links], default=0)


class Flow:
    """Bytes on their way by a route."""

    __slots__ = (
        "aggregate",
        "bits_left",
        "cap_bps",
        "cut",
        "ends_ns",
        "expansion",
        "finished",
        "limit_bps",
        "links",
        "num_bytes",
        "number",
        "route",
        "since_ns",
        "tag",
        "ticket",
        "under_way",
        "weight",
    )

    limit_bps: int
    """Its rate, were it alone in the network; once it is under way."""
    since_ns: int
    """As of when ``bits_left`` counts."""
    tag: float
    """What its aggregate will have been served per weight when this flow is through."""
    ticket: int
    """Its place in the queue of the aggregate; an earlier one no longer counts."""

    def __init__(
        self,
        number: int,
        route: Route,
        num_bytes: int,
        weight: float,
        cap_bps: int | None,
        finished: Callable[[], Any],
        cut: Callable[[int], Any] | None,
        expansion: float = 1.0,
    ) -> None:
        self.number = number
        self.route = route
        self.links = route.links
        self.num_bytes = num_bytes
        self.weight = ONE if weight == 1.0 else whole_weight(weight)
        self.cap_bps = cap_bps
        self.finished = finished
        self.cut = cut
        self.under_way = False
        self.expansion = expansion
        """Bytes on the links for each of the message."""
        self.bits_left = 8.0 * num_bytes * expansion
        """While it is in an aggregate, ``tag`` tells them."""
        self.ends_ns = NEVER
        """When the last bit is through, if it takes its limit."""
        self.aggregate: Aggregate | None = None
        """Whom it shares with; None while it takes its limit."""

    def bits_left_at(self, now_ns: int) -> float:
        """Return how many bits aren't through yet."""
        if not self.under_way:
            return self.bits_left
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

    def served_at(self, now_ns: float) -> float:
        """Return what the virtual clock shows at ``now_ns``."""
        return self.served + self.level * (now_ns - self.since_ns) / 1e9

    def add(self, flow: Flow, limit: float, now_ns: int) -> None:
        """Take ``flow`` in; ``limit`` is its limit per weight."""
        if now_ns != self.since_ns:
            self._advance(now_ns)
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
        """Let ``flow`` go; what it has left must be asked for before."""
        if now_ns != self.since_ns:
            self._advance(now_ns)
        flow.aggregate = None
        self.ends_ns = NEVER
        self.weight -= flow.weight
        self.num_flows -= 1

    def members(self) -> list[Flow]:
        """Return its flows, and forget those that have left."""
        self.queue = [
            entry
            for entry in self.queue
            if entry[2].aggregate is self and entry[2].ticket == entry[1]
        ]
        heapq.heapify(self.queue)
        return [flow for _, _, flow in self.queue]

    def done(self, now_ns: int) -> list[Flow]:
        """Return the flows that are through at ``now_ns``; they stay until they are removed."""
        served = self.served + self.level * (now_ns + _ROUNDING_NS - self.since_ns) / 1e9
        through = []
        queue = self.queue
        while queue:
            tag, ticket, flow = queue[0]
            if flow.aggregate is self and flow.ticket == ticket:
                if tag > served:
                    break
                through.append(flow)
            heapq.heappop(queue)
        return through

    def set_level(self, level: float, now_ns: int) -> None:
        """Go on at this level from ``now_ns``, and work out when the first flow is through."""
        if now_ns != self.since_ns:
            self._advance(now_ns)
        self.level = level
        self.ends_ns = NEVER
        queue = self.queue
        while queue:
            tag, ticket, flow = queue[0]
            if flow.aggregate is self and flow.ticket == ticket:
                if level:
                    left = tag - self.served
                    self.ends_ns = now_ns + (ends_after_ns(left, level) if left > 0 else 1)
                break
            heapq.heappop(queue)

    def _advance(self, now_ns: int) -> None:
        """Let the virtual clock go on to ``now_ns`` at the level that it had."""
        self.served += self.level * (now_ns - self.since_ns) / 1e9
        self.since_ns = now_ns
