"""How flows share links: weighted max-min fairness, exact, and worked out where something changed.

A link is contended when its flows, each alone in the network, would take more than it has. Other
links slow nobody, so a flow over those alone takes its limit, and nothing has to be shared. Flows
over the same contended links form an aggregate, which has one rate per weight however many they
are. After a change, the rates around it are filled anew, starting with the links on which
something came or went; where an aggregate's rate changes, its other links are taken in too.

Source:
    Bertsekas and Gallager, "Data Networks", 2nd edition, section 6.5.2 (progressive filling).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from simbench.network.filling import Filling
from simbench.network.flow import (
    NEVER,
    Aggregate,
    Flow,
    Route,
    SharedLink,
    ends_after_ns,
    whole_weight,
)
from simbench.network.groups import Groups, contended_links


class Sharing:
    """Flows over links: who comes, who goes, and how fast each of them is.

    Moments must not run back. Rates hold from ``settle`` on, which must be called after changes
    and before time goes on.
    """

    def __init__(
        self,
        link_rates: Sequence[int],
        foreseen: Callable[[Flow | Aggregate], Any],
        bursts_bytes: Sequence[int] | None = None,
    ) -> None:
        """Begin without flows.

        Args:
            link_rates: what each link carries, in bit/s.
            foreseen: told of each flow and aggregate whose ``ends_ns`` is known anew.
            bursts_bytes: what passes each link at once when it was idle; None: nothing does.
        """
        self._link_rates = link_rates
        self._bursts_bytes = bursts_bytes
        self._links: dict[int, SharedLink] = {}
        self._groups = Groups(foreseen)
        self._foreseen = foreseen
        self.dirty = self._groups.dirty
        """Links for which rates must be worked out."""

    def link(self, index: int) -> SharedLink:
        """Return a link by its place in the topology."""
        found = self._links.get(index)
        if found is None:
            burst_bytes = self._bursts_bytes[index] if self._bursts_bytes else 0
            found = SharedLink(index, self._link_rates[index], burst_bytes)
            self._links[index] = found
        return found

    def flows(self) -> list[Flow]:
        """Return the flows that are under way."""
        found = {flow: None for link in self._links.values() for flow in link.flows}
        return list(found)

    # -- what can happen

    def join(self, flow: Flow, now_ns: int) -> None:
        """Let ``flow`` begin to flow, over one link at least."""
        limit_bps = flow.route.limit_bps
        cap_bps = flow.cap_bps
        if cap_bps is not None and cap_bps < limit_bps:
            limit_bps = cap_bps
        flow.limit_bps = limit_bps
        flow.under_way = True
        flow.since_ns = now_ns
        if flow.route.bursts:
            _pass_at_once(flow, now_ns)
        contended = []
        for link in flow.links:
            link.demand_bps = demand_bps = link.demand_bps + limit_bps
            if link.contended:
                contended.append(link)
            elif demand_bps > link.rate_bps:
                self._regroup(link, now_ns, contended=True)
                contended.append(link)
            link.flows[flow] = None
        if contended:
            self._groups.place(flow, tuple(contended), now_ns)
        elif limit_bps:
            flow.ends_ns = now_ns + ends_after_ns(flow.bits_left, limit_bps)
            self._foreseen(flow)

    def leave(self, flow: Flow, now_ns: int) -> None:
        """Take ``flow`` off its links; what it has left is no longer known."""
        limit_bps = flow.limit_bps
        slowed = False
        for link in flow.links:
            link.demand_bps -= limit_bps
            del link.flows[flow]
            if link.contended:
                slowed = True
                self.dirty[link] = None
        if slowed:
            self._groups.take_out(flow, now_ns)
        flow.ends_ns = NEVER
        flow.under_way = False
        if flow.route.bursts:
            for link in flow.links:
                link.quiet_since_ns = now_ns

    def end(self, aggregate: Aggregate, now_ns: int) -> list[Flow]:
        """Take off their links the first of ``aggregate``, at the moment that was foreseen."""
        through = aggregate.done(now_ns)
        for flow in through:
            self.leave(flow, now_ns)
        if not through:
            # The last bit of a float.
            aggregate.set_level(aggregate.level, now_ns)
            self._foreseen(aggregate)
        return through

    def limit(self, flow: Flow, now_ns: int) -> None:
        """Apply what the links and the cap of ``flow``, which is under way, are now."""
        bits_left = flow.bits_left_at(now_ns)
        self.leave(flow, now_ns)
        flow.bits_left = bits_left
        self.join(flow, now_ns)

    def weigh(self, flow: Flow, weight: float, now_ns: int) -> None:
        """Change the weight of ``flow``, which is under way."""
        bits_left = flow.bits_left_at(now_ns)
        self.leave(flow, now_ns)
        flow.bits_left = bits_left
        flow.weight = whole_weight(weight)
        self.join(flow, now_ns)

    def set_rate(self, link: SharedLink, rate_bps: int, now_ns: int) -> None:
        """Change what ``link`` can carry; 0 stops its flows until it can carry again."""
        link.nominal_bps = rate_bps
        self.set_share(link, link.share, now_ns)

    def set_share(self, link: SharedLink, share: float, now_ns: int) -> None:
        """Change what part of ``link`` is there for flows."""
        link.share = share
        link.rate_bps = round(link.nominal_bps * share)
        for route in link.routes:
            route.find_limit()
        for flow in list(link.flows):
            self.limit(flow, now_ns)

    # -- who shares with whom

    def _regroup(self, link: SharedLink, now_ns: int, *, contended: bool) -> None:
        """Sort the flows of ``link`` anew as it becomes contended, or is so no longer."""
        flows = list(link.flows)
        for flow in flows:
            flow.bits_left = flow.bits_left_at(now_ns)
            self._groups.take_out(flow, now_ns)
        link.contended = contended
        link.level = math.inf
        self.dirty.pop(link, None)
        for flow in flows:
            self._groups.place(flow, contended_links(flow), now_ns)

    # -- how fast they are

    def settle(self, now_ns: int) -> None:
        """Work out the rates around what has changed."""
        for link in list(self.dirty):
            # Half, so that a link at the edge doesn't change sides with every flow.
            if 2 * link.demand_bps <= link.rate_bps:
                self._regroup(link, now_ns, contended=False)
        region: dict[SharedLink, None] = {}
        for link in self.dirty:
            if not self._fill_alone(link, now_ns):
                region[link] = None
        self.dirty.clear()
        while region:
            filling = Filling(self._groups, region, now_ns)
            filling.run()
            beyond = filling.beyond()
            if not beyond:
                filling.apply()
                break
            region.update(beyond)

    def _fill_alone(self, link: SharedLink, now_ns: int) -> bool:
        """Work out the rates on ``link`` at once, if all who share it share nothing else."""
        if len(link.aggregates) != 1:
            return False
        (aggregate,) = link.aggregates
        if len(aggregate.links) != 1:
            return False
        level = (link.rate_bps - link.at_limit_bps) / aggregate.weight
        if not link.greatest_limit <= level <= aggregate.least_limit:
            return False
        link.level = level
        aggregate.bottleneck = link
        aggregate.set_level(level, now_ns)
        self._foreseen(aggregate)
        return True


def _pass_at_once(flow: Flow, now_ns: int) -> None:
    """Let go what the buckets of all links on the way hold."""
    saved = [link.tokens_at(now_ns) for link in flow.links]
    # The last bit has a moment of its own.
    passed = min(*saved, max(0.0, flow.bits_left - 1))
    flow.bits_left -= passed
    for link, tokens in zip(flow.links, saved, strict=True):
        link.tokens_bits = tokens - passed


def max_min_rates(paths: Sequence[Sequence[int]], link_rates: Sequence[int]) -> list[float]:
    """Return the rate of each flow: no flow's can grow without shrinking that of a slower one.

    Every flow then has a full link on which no other flow is faster. A flow whose path is empty is
    bounded by nothing: its rate is infinite.

    >>> max_min_rates([[0, 1], [0], [1]], [10, 4])
    [2.0, 8.0, 2.0]

    Args:
        paths: the links of each flow, as indices into ``link_rates``.
        link_rates: what each link carries, in bit/s.
    """
    sharing = Sharing(link_rates, _ignore)
    flows = []
    for number, path in enumerate(paths):
        route = Route(0, 0, tuple([sharing.link(index) for index in path]), 0)
        flow = Flow(number, route, 1, 1.0, None, _ignore, None)
        flows.append(flow)
        if path:
            sharing.join(flow, 0)
    sharing.settle(0)
    return [float(flow.rate_bps) if flow.links else math.inf for flow in flows]


def _ignore(*_: object) -> None:
    """Nobody waits for flows that only ask for their rate."""
