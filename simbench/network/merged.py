"""Messages around a ring as one flow from each node to the next, where that takes the same time."""

from collections.abc import Sequence

from simbench.network.schedule import Piece, Schedule, Transfer
from simbench.network.sharing import max_min_rates
from simbench.network.topology import Network


def add_ring(schedule: Schedule, ranks: Sequence[int], sizes: Sequence[int], steps: int) -> None:
    """Add the flows that stand for ``steps`` messages from each of ``ranks`` to the next.

    Args:
        schedule: what they are added to, as one round.
        ranks: who stands where in the ring; more than one.
        sizes: bytes that each sends in all, in the same order.
        steps: messages of each.
    """
    schedule.add(
        (
            Transfer(rank, ranks[(i + 1) % len(ranks)], Piece(0, sizes[i]), adds=True)
            for i, rank in enumerate(ranks)
        ),
        hops_in_turn=steps,
    )


def share_no_link(pairs: Sequence[tuple[int, int]], network: Network) -> bool:
    """Return whether transfers between ``pairs`` of nodes don't meet.

    One ring of flows then takes as long as its messages: of all chains of messages that wait for
    each other, one of those that stay between the slowest pair is the longest, and that is the
    pair's flow, with all its latencies and bytes. Where latencies vary, that isn't so.
    """
    taken: set[int] = set()
    for sender, receiver in pairs:
        path = network.path(sender, receiver)
        if path.jitter_ns or not taken.isdisjoint(path.links):
            return False
        taken.update(path.links)
    return True


def are_alike(pairs: Sequence[tuple[int, int]], network: Network) -> bool:
    """Return whether equal transfers between ``pairs`` of nodes take the same time, all at once.

    Rings of flows then take as long as their messages, which keep step, though they may share
    links; and what comes after them starts at the same moment everywhere. Where latencies vary,
    that isn't so.
    """
    paths = [network.path(sender, receiver) for sender, receiver in pairs]
    if any(path.jitter_ns for path in paths):
        return False
    rates = max_min_rates([path.links for path in paths], [link.rate_bps for link in network.links])
    return len({path.latency_ns for path in paths}) <= 1 and len(set(rates)) <= 1


def ring_pairs(ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Return each of ``ranks`` with the next, around; no pair if it is alone."""
    p = len(ranks)
    return [(rank, ranks[(i + 1) % p]) for i, rank in enumerate(ranks)] if p > 1 else []
