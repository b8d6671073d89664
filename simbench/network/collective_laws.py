"""Laws that any collective must pass: the right bytes get to the right nodes, exactly once.

Messages are run without a clock, on sets of contributions in the place of vectors: what a message
carries is what its sender is sure to have whatever the times, because the message waits for it.
"""

import itertools
from collections import Counter
from collections.abc import Sequence

from simbench.network.collective import (
    AllGather,
    AllReduce,
    Broadcast,
    Collective,
    PointToPoint,
    Reduce,
    ReduceScatter,
    seconds_on,
)
from simbench.network.schedule import Piece, join, pieces_of, split
from simbench.network.topologies.star import Star
from simbench.network.topology import Network, Topology

Held = dict[int, dict[int, int]]
"""Rank -> first byte of a stretch of the vector -> contributions to it: bit i is that of rank i."""

_NS = 1e-9
_STARS = (Star(bandwidth=10**9, latency=0), Star(bandwidth=10**8, latency=10**6))


def check_collective(collective: Collective) -> None:
    """Check that ``collective`` does what its operation means, for many numbers of nodes."""
    for num_workers, num_bytes in itertools.product((1, 2, 3, 4, 5, 7, 8), (1, 27, 10_080)):
        ranks = tuple(range(3, 3 + num_workers + collective.num_servers))
        check_messages(collective, num_bytes, ranks)
        for star in _STARS:
            check_flows(collective, num_bytes, ranks, star)
        if isinstance(collective, AllGather):
            # Unequal pieces, some of nothing; all together aren't nothing.
            check_gather(collective, [num_bytes * (i % 3) for i in range(1, len(ranks) + 1)], ranks)


def check_messages(collective: Collective, num_bytes: int, ranks: tuple[int, ...]) -> None:
    """Check that messages among ``ranks`` bring every contribution where it belongs, once."""
    network = Network(_STARS[0], max(ranks) + 1)
    messages = collective.messages(num_bytes, ranks, network)
    pieces = split(Piece(0, num_bytes), len(ranks) - collective.num_servers)
    _check_messages(collective, messages, pieces, ranks)


def check_gather(collective: AllGather, sizes: Sequence[int], ranks: tuple[int, ...]) -> None:
    """Check that messages bring the piece of every rank, of its size, to all others, once."""
    messages = collective.gather(sizes, ranks, Network(_STARS[0], max(ranks) + 1))
    _check_messages(collective, messages, pieces_of(sizes), ranks)


def _check_messages(
    collective: Collective,
    messages: list[PointToPoint],
    pieces: list[Piece],
    ranks: tuple[int, ...],
) -> None:
    num_bytes = join(pieces).num_bytes
    workers = ranks[: len(ranks) - collective.num_servers]
    if len(workers) == 1 and not collective.num_servers:
        assert not messages, "one rank has nobody to talk to"
    _check_form(messages, ranks)
    edges = _edges(messages, pieces, num_bytes)
    held = _first(collective, workers, pieces, edges)
    for server in ranks[len(workers) :]:
        held[server] = dict.fromkeys(edges, 0)
    held = follow(messages, held, num_bytes)
    for rank, wanted in _last(collective, workers, pieces, edges).items():
        for begin, contributions in wanted.items():
            assert held[rank][begin] == contributions, (
                f"{collective.kind}: node {rank} has {held[rank][begin]:b} at byte {begin} "
                f"instead of {contributions:b}"
            )


def check_flows(
    collective: Collective, num_bytes: int, ranks: tuple[int, ...], topology: Topology
) -> None:
    """Check that flows move the bytes of the messages, and in the same time if nobody else talks.

    Within 1e-6, or a nanosecond for each message that waits for another; and the time of a byte
    for each where nodes can't have equal pieces.
    """
    network = Network(topology, max(ranks) + 1)
    messages = collective.messages(num_bytes, ranks, network)
    flows = collective.flows(num_bytes, ranks, network)
    assert traffic(flows) == traffic(messages), f"{collective.kind}: other bytes as flows"
    uneven = num_bytes % (len(ranks) - collective.num_servers) > 0
    byte_s = max((8 / link.rate_bps for link in network.links), default=0.0) * uneven
    messages_s, flows_s = seconds_on(network, messages), seconds_on(network, flows)
    slack_s = max(1e-6 * messages_s, _in_turn(messages) * _NS) + _in_turn(messages) * byte_s
    assert abs(flows_s - messages_s) <= slack_s, (
        f"{collective.kind}: flows take {flows_s} s and messages {messages_s} s"
    )


def _in_turn(messages: Sequence[PointToPoint]) -> int:
    """Return how many of ``messages`` wait for each other in the longest chain."""
    turns: list[int] = []
    for message in messages:
        turns.append(1 + max((turns[other] for other in message.after), default=0))
    return max(turns, default=0)


def traffic(messages: Sequence[PointToPoint]) -> dict[tuple[int, int], int]:
    """Return the bytes from each node to each other."""
    sums: Counter[tuple[int, int]] = Counter()
    for message in messages:
        sums[message.sender, message.receiver] += message.num_bytes
    return {pair: num_bytes for pair, num_bytes in sorted(sums.items()) if num_bytes}


def follow(messages: Sequence[PointToPoint], held: Held, num_bytes: int) -> Held:
    """Return what each rank has after ``messages``, if it begins with ``held``.

    A message carries what its sender began with and what came in messages that this one waits
    for, directly or through others.

    Raises:
        AssertionError: a message carries what its sender doesn't have, adds a contribution for
            the second time, or puts something in the place of more.
    """
    edges = sorted(next(iter(held.values())))
    waited_for: list[int] = []
    came: dict[int, dict[int, list[tuple[int, int, bool]]]] = {
        rank: {begin: [] for begin in edges} for rank in held
    }

    def value(rank: int, begin: int, known: int) -> int:
        there = held[rank][begin]
        for index, sent, adds in came[rank][begin]:
            if known >> index & 1:
                assert not adds or not sent & there, f"message {index} adds something again"
                assert adds or not there & ~sent, f"message {index} takes the place of more"
                there |= sent
        return there

    for index, message in enumerate(messages):
        known = 0
        for other in message.after:
            known |= waited_for[other] | 1 << other
        waited_for.append(known)
        for begin in _stretches(edges, message, num_bytes):
            sent = value(message.sender, begin, known)
            assert sent, f"message {index} carries what node {message.sender} doesn't have"
            came[message.receiver][begin].append((index, sent, message.adds))
    everything = (1 << len(messages)) - 1
    return {rank: {begin: value(rank, begin, everything) for begin in edges} for rank in held}


def _check_form(messages: Sequence[PointToPoint], ranks: tuple[int, ...]) -> None:
    for index, message in enumerate(messages):
        ends = {message.sender, message.receiver}
        assert len(ends) == 2, "nobody sends to itself"
        assert ends <= set(ranks), "only who takes part talks"
        assert message.num_bytes >= 0
        assert len(set(message.after)) == len(message.after), "a message waits for another once"
        for other in message.after:
            assert other < index, "a message waits for earlier ones only"
            assert ends & {messages[other].sender, messages[other].receiver}, (
                f"nobody at message {index} can know that message {other} has arrived"
            )


def _edges(messages: Sequence[PointToPoint], pieces: list[Piece], num_bytes: int) -> list[int]:
    """Return where stretches begin that every message and every piece has all or nothing of."""
    cuts = {0}
    for begin, size in [*pieces, *((message.begin, message.num_bytes) for message in messages)]:
        cuts |= {begin % num_bytes, (begin + size) % num_bytes}
    return sorted(cuts)


def _stretches(edges: list[int], piece: Piece | PointToPoint, num_bytes: int) -> list[int]:
    """Return the beginnings of the stretches in ``piece``."""
    assert piece.num_bytes <= num_bytes
    return [each for each in edges if (each - piece.begin) % num_bytes < piece.num_bytes]


def _first(
    collective: Collective, workers: Sequence[int], pieces: list[Piece], edges: list[int]
) -> Held:
    held = {}
    for i, rank in enumerate(workers):
        own = dict.fromkeys(edges, 1 << i)
        if isinstance(collective, AllGather):
            own = _only(pieces[i], own)
        elif isinstance(collective, Broadcast) and i:
            own = dict.fromkeys(edges, 0)
        held[rank] = own
    return held


def _last(
    collective: Collective, workers: Sequence[int], pieces: list[Piece], edges: list[int]
) -> Held:
    everything = dict.fromkeys(edges, (1 << len(workers)) - 1)
    if isinstance(collective, AllReduce):
        return dict.fromkeys(workers, everything)
    if isinstance(collective, Reduce):
        return {workers[0]: everything}
    if isinstance(collective, Broadcast):
        return dict.fromkeys(workers, dict.fromkeys(edges, 1))
    if isinstance(collective, ReduceScatter):
        return {
            rank: {begin: everything[begin] for begin in edges if _inside(begin, pieces[i])}
            for i, rank in enumerate(workers)
        }
    assert isinstance(collective, AllGather)
    owner = {
        begin: 1 << i for begin in edges for i in range(len(pieces)) if _inside(begin, pieces[i])
    }
    return dict.fromkeys(workers, owner)


def _only(piece: Piece, contributions: dict[int, int]) -> dict[int, int]:
    return {begin: each if _inside(begin, piece) else 0 for begin, each in contributions.items()}


def _inside(begin: int, piece: Piece) -> bool:
    return piece.begin <= begin < piece.begin + piece.num_bytes
