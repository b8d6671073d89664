"""Progressive filling of a region of links: all rates grow together until a link is full.

Aggregates that a link outside the region slows keep the level that it sets, unless a link inside
is full before that. Whatever has another rate than before is noted, so that the caller can take in
its links outside and fill again.
"""

import heapq
import math
from collections.abc import Iterable

from simbench.network.flow import NEVER, Aggregate, Flow, SharedLink
from simbench.network.groups import Groups

# Levels that differ by less are one: they were added up in another order.
_SAME = 1e-12


class Filling:
    """One filling of a region."""

    def __init__(self, groups: Groups, region: Iterable[SharedLink], now_ns: int) -> None:
        self._groups = groups
        self._now_ns = now_ns
        self._left: dict[SharedLink, float] = {}
        self._weight: dict[SharedLink, int] = {}
        """Of aggregates whose level isn't known yet."""
        self._queue: list[tuple[float, int, SharedLink | Aggregate]] = []
        self._pushed = 0
        self._due: dict[SharedLink, float] = {}
        """The last level that was pushed for a link: others no longer count."""
        self._floor = 0.0
        """Where the filling has come to."""
        self._levels: dict[Aggregate, float] = {}
        self._bottlenecks: dict[Aggregate, SharedLink] = {}
        self._full: dict[SharedLink, float] = {}
        self._moved: list[Flow] = []
        """Flows that have begun or ceased to take their limit."""
        for link in region:
            self._left[link] = link.rate_bps - link.at_limit_bps
            self._weight[link] = sum([each.weight for each in link.aggregates])
        for link in self._left:
            for aggregate in link.aggregates:
                bottleneck = aggregate.bottleneck
                if bottleneck is not None and bottleneck not in self._left:
                    self._push(aggregate, aggregate.level)
            self._await(link)

    def run(self) -> None:
        """Find the level of every aggregate over the region."""
        while self._queue:
            level, _, item = heapq.heappop(self._queue)
            if isinstance(item, Aggregate):
                if item not in self._levels:
                    self._set(item, level)
            elif self._due.get(item) == level:
                del self._due[item]
                level = max(level, self._floor)
                if not self._correct(item, level):
                    self._fill(item, level)

    def beyond(self) -> dict[SharedLink, None]:
        """Return links outside on which this filling has changed something that matters there."""
        links: dict[SharedLink, None] = {}
        for flow in self._moved:
            for link in flow.links:
                if link.contended and link not in self._left:
                    links[link] = None
        for aggregate, level in self._levels.items():
            before = aggregate.level
            if abs(level - before) > _SAME * before:
                for link in aggregate.links:
                    if link not in self._left and (level > before or link.level < math.inf):
                        links[link] = None
        return links

    def apply(self) -> None:
        """Let the levels hold from now on."""
        for link in self._left:
            link.level = self._full.get(link, math.inf)
        for aggregate, level in self._levels.items():
            if aggregate in self._bottlenecks:
                aggregate.bottleneck = self._bottlenecks[aggregate]
            before = aggregate.level
            if aggregate.ends_ns == NEVER or abs(level - before) > _SAME * before:
                aggregate.set_level(level, self._now_ns)
                self._groups.foreseen(aggregate)

    # -- one link

    def _level(self, link: SharedLink) -> float:
        weight = self._weight[link]
        if weight:
            return self._left[link] / weight
        # Nobody waits for it, unless flows at their limit take more than it has.
        return math.inf if self._left[link] >= -_SAME * link.rate_bps else -1.0

    def _await(self, link: SharedLink) -> None:
        level = self._level(link)
        if level < math.inf and level != self._due.get(link):
            self._due[link] = level
            self._push(link, level)
        elif level == math.inf:
            self._due.pop(link, None)

    def _push(self, item: SharedLink | Aggregate, level: float) -> None:
        self._pushed += 1
        heapq.heappush(self._queue, (level, self._pushed, item))

    def _fill(self, link: SharedLink, level: float) -> None:
        """``link`` is full: all that still grew over it has this level."""
        self._floor = level
        for aggregate in link.aggregates:
            if aggregate not in self._levels:
                self._bottlenecks[aggregate] = link
                self._full[link] = level
                self._set(aggregate, level)

    def _set(self, aggregate: Aggregate, level: float) -> None:
        self._levels[aggregate] = level
        self._change(aggregate.links, -level * aggregate.weight, -aggregate.weight)

    def _change(self, links: Iterable[SharedLink], bps: float, weight: int) -> None:
        """Links of the region have so much more left, for so much more weight."""
        for link in links:
            if link in self._left:
                self._left[link] += bps
                self._weight[link] += weight
                self._await(link)

    # -- limits of single flows

    def _correct(self, link: SharedLink, level: float) -> bool:
        """Move flows over ``link`` that a level of ``level`` slows, or no longer; say if any."""
        if level < link.greatest_limit and self._slow_down(link, level):
            return True
        moved = False
        for aggregate in list(link.aggregates):
            if aggregate.least_limit < level and aggregate not in self._levels:
                moved |= self._let_go(aggregate, level)
        return moved

    def _slow_down(self, link: SharedLink, level: float) -> bool:
        """Let flows at limits above ``level`` share; say if there are any."""
        at_limit = [
            (flow.limit_bps / flow.weight, flow) for flow in link.flows if flow.aggregate is None
        ]
        link.greatest_limit = max([limit for limit, _ in at_limit if limit <= level], default=0.0)
        moved = [flow for limit, flow in at_limit if limit > level]
        for flow in moved:
            flow.bits_left = flow.bits_left_at(self._now_ns)
            self._groups.take_out(flow, self._now_ns)
            self._groups.share(flow, self._now_ns)
            self._moved.append(flow)
            assert flow.aggregate is not None
            assert flow.aggregate not in self._levels
            self._change(flow.aggregate.links, flow.limit_bps, flow.weight)
        return bool(moved)

    def _let_go(self, aggregate: Aggregate, level: float) -> bool:
        """Let flows that need no more than ``level`` take their limit; say if there are any."""
        members = [(flow.limit_bps / flow.weight, flow) for flow in aggregate.members()]
        aggregate.least_limit = min([lim for lim, _ in members if lim >= level], default=math.inf)
        moved = [flow for limit, flow in members if limit < level]
        for flow in moved:
            flow.bits_left = flow.bits_left_at(self._now_ns)
            self._groups.take_out(flow, self._now_ns)
            self._groups.run_at_limit(flow, self._now_ns)
            self._moved.append(flow)
            self._change(aggregate.links, -flow.limit_bps, -flow.weight)
        return bool(moved)
