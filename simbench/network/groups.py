"""Who shares with whom: flows at their limit, and aggregates of flows over the same links."""

from simbench.network.flow import NEVER, Aggregate, Flow, SharedLink, ends_after_ns


class Groups:
    """Every flow under way either takes its limit or shares in an aggregate."""

    def __init__(self) -> None:
        self._aggregates: dict[tuple[SharedLink, ...], Aggregate] = {}
        self.foreseen: list[Flow | Aggregate] = []
        """Whose end is known anew."""

    def place(self, flow: Flow, now_ns: int) -> tuple[SharedLink, ...]:
        """Put a flow whose bits are up to date into a group; return its contended links.

        Where it begins is a guess: filling puts right what isn't.
        """
        links = _contended(flow)
        aggregate = self._aggregates.get(links)
        limit = flow.limit_bps / flow.weight
        if not links or (aggregate is not None and limit < aggregate.level):
            self.run_at_limit(flow, now_ns)
        else:
            self.share(flow, now_ns)
        return links

    def run_at_limit(self, flow: Flow, now_ns: int) -> None:
        """Let ``flow`` take its limit; nobody slows it."""
        limit_bps = flow.limit_bps
        flow.since_ns = now_ns
        if limit_bps:
            flow.ends_ns = now_ns + ends_after_ns(flow.bits_left, limit_bps)
            self.foreseen.append(flow)
        limit = limit_bps / flow.weight
        for link in flow.links:
            if link.contended:
                link.at_limit_bps += limit_bps
                link.greatest_limit = max(link.greatest_limit, limit)

    def stop_at_limit(self, flow: Flow, now_ns: int) -> None:
        """Undo ``run_at_limit``."""
        flow.bits_left = flow.bits_left_at(now_ns)
        flow.since_ns = now_ns
        flow.ends_ns = NEVER
        for link in flow.links:
            if link.contended:
                link.at_limit_bps -= flow.limit_bps

    def share(self, flow: Flow, now_ns: int) -> None:
        """Let ``flow`` share its contended links with the aggregate of those like it."""
        links = _contended(flow)
        aggregate = self._aggregates.get(links)
        if aggregate is None:
            aggregate = self._aggregates[links] = Aggregate(links, now_ns)
            for link in links:
                link.aggregates[aggregate] = None
        aggregate.add(flow, flow.limit_bps / flow.weight, now_ns)

    def leave(self, flow: Flow, now_ns: int) -> None:
        """Undo ``share``."""
        aggregate = flow.aggregate
        assert aggregate is not None
        aggregate.remove(flow, now_ns)
        if not aggregate.num_flows:
            del self._aggregates[aggregate.links]
            for link in aggregate.links:
                del link.aggregates[aggregate]


def _contended(flow: Flow) -> tuple[SharedLink, ...]:
    return tuple([link for link in flow.links if link.contended])
