"""Who shares with whom: flows at their limit, and aggregates of flows over the same links."""

from collections.abc import Callable
from typing import Any

from simbench.network.flow import NEVER, Aggregate, Flow, SharedLink, ends_after_ns


def contended_links(flow: Flow) -> tuple[SharedLink, ...]:
    """Return the links on the way of ``flow`` on which it may have to share."""
    return tuple([link for link in flow.links if link.contended])


class Groups:
    """Every flow under way either takes its limit or shares in an aggregate."""

    def __init__(self, foreseen: Callable[[Flow | Aggregate], Any]) -> None:
        """``foreseen`` is told of each flow and aggregate whose ``ends_ns`` is known anew."""
        self.foreseen = foreseen
        self.dirty: dict[SharedLink, None] = {}
        """Contended links on which something has changed since rates were worked out."""
        self._aggregates: dict[tuple[SharedLink, ...], Aggregate] = {}

    def place(self, flow: Flow, links: tuple[SharedLink, ...], now_ns: int) -> None:
        """Put a flow whose bits are up to date among those like it: over contended ``links``.

        Where it begins is a guess: filling puts right what isn't.
        """
        aggregate = self._aggregates.get(links)
        if aggregate is None:
            if links:
                self.share(flow, now_ns)
            else:
                self.run_at_limit(flow, now_ns)
        else:
            limit = flow.limit_bps / flow.weight
            if limit < aggregate.level:
                self.run_at_limit(flow, now_ns)
            else:
                aggregate.add(flow, limit, now_ns)
        for link in links:
            self.dirty[link] = None

    def run_at_limit(self, flow: Flow, now_ns: int) -> None:
        """Let ``flow`` take its limit; nobody slows it."""
        limit_bps = flow.limit_bps
        flow.since_ns = now_ns
        if limit_bps:
            flow.ends_ns = now_ns + ends_after_ns(flow.bits_left, limit_bps)
            self.foreseen(flow)
        limit = limit_bps / flow.weight
        for link in flow.links:
            if link.contended:
                link.at_limit_bps += limit_bps
                link.greatest_limit = max(link.greatest_limit, limit)

    def share(self, flow: Flow, now_ns: int) -> None:
        """Let ``flow`` share its contended links with the aggregate of those like it."""
        links = contended_links(flow)
        aggregate = self._aggregates.get(links)
        if aggregate is None:
            aggregate = self._aggregates[links] = Aggregate(links, now_ns)
            for link in links:
                link.aggregates[aggregate] = None
        aggregate.add(flow, flow.limit_bps / flow.weight, now_ns)

    def take_out(self, flow: Flow, now_ns: int) -> None:
        """Undo whichever it was; what ``flow`` has left must be asked for before."""
        aggregate = flow.aggregate
        if aggregate is None:
            flow.ends_ns = NEVER
            for link in flow.links:
                if link.contended:
                    link.at_limit_bps -= flow.limit_bps
        else:
            aggregate.remove(flow, now_ns)
            if not aggregate.num_flows:
                del self._aggregates[aggregate.links]
                for link in aggregate.links:
                    del link.aggregates[aggregate]
