"""Messages around a ring, merged into one flow from each node to the next."""

from collections.abc import Iterable, Sequence

from simbench.network.collective import PointToPoint
from simbench.network.topology import Network


def ring_flows(ranks: Sequence[int], sizes: Sequence[int], steps: int) -> list[PointToPoint]:
    """Return the flow from each of ``ranks`` to the next for ``steps`` messages in turn.

    On links of their own they take as long as the messages, within a byte of each message. A
    message waits for messages of its neighbours one step before. Of all chains of messages that
    wait for each other, one of those that stay on the slowest way is then the longest, and that
    is the flow: ``steps`` times the latency and all its bytes.

    Args:
        ranks: who stands where in the ring; more than one.
        sizes: bytes that each sends in all, in the same order.
        steps: messages of each.
    """
    p = len(ranks)
    return [
        PointToPoint(ranks[i], ranks[(i + 1) % p], sizes[i], hops_in_turn=steps) for i in range(p)
    ]


def apart(flows: Iterable[PointToPoint], network: Network) -> bool:
    """Return whether no two of ``flows`` share a link."""
    taken: set[int] = set()
    for flow in flows:
        links = network.path(flow.sender, flow.receiver).links
        if not taken.isdisjoint(links):
            return False
        taken.update(links)
    return True
