"""What simbench's clock plane says of every operation that was measured."""

import statistics
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from measured_links import SIZES, Row, network
from simpy.events import Event

from simbench.clock import Clock
from simbench.network.collective import Collective, Exchange, Plan, PointToPoint
from simbench.network.collectives.all_gather.ring import Ring as RingAllGather
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.collectives.broadcast.binomial import Binomial
from simbench.network.collectives.reduce.reduce_scatter_gather import ReduceScatterGather
from simbench.network.collectives.reduce_scatter.ring import Ring as RingReduceScatter
from simbench.network.fabric import Fabric
from simbench.network.gloo import with_ready
from simbench.network.topology import Network, Topology

GLOO: dict[str, Collective] = {
    "all_reduce": Ring(implementation="gloo"),
    "train_sync_comm": Ring(implementation="gloo"),
    "train_local8_comm": Ring(implementation="gloo"),
    "reduce_scatter": RingReduceScatter(implementation="gloo"),
    "all_gather": RingAllGather(implementation="gloo"),
    "broadcast": Binomial(implementation="gloo"),
    "reduce": ReduceScatterGather(implementation="gloo"),
}
LOOPED_S = {"async": 6.0, "train": 20.0}
"""How long a loop ran, by the beginning of its name."""
COMPUTE_S = 0.050
DRIFT = 0.5
SEEDS = range(5)
"""A loop is run with each, and the median counts."""


class UnknownOperationError(ValueError):
    """Something was measured that this file doesn't know."""


class Loop(NamedTuple):
    """What a run of an asynchronous loop gave."""

    rounds_per_s: float
    round_comm_s: float
    staleness_mean: float


def predict(row: Row, overhead_ns: int) -> float:
    """Return the time that ``row`` tells, in s; or rounds per second, or updates of staleness.

    Args:
        row: what was measured; not how long it took.
        overhead_ns: what a message takes between two nodes beside latency and transfer.

    Raises:
        UnknownOperationError: nobody knows what was measured.
    """
    what = row.operation
    if what.startswith("async_") or what == "train_async_comm":
        topology = network(row, overhead_ns, gloo=False, drift=DRIFT)
        loops = [_loop(topology, row, seed) for seed in SEEDS]
        field = "round_comm_s" if what == "train_async_comm" else what.removeprefix("async_")
        if field not in Loop._fields:
            raise UnknownOperationError(f"{row.config}: unknown operation {row.op!r}")
        return statistics.median(getattr(loop, field) for loop in loops)
    gloo = what in GLOO or what in ("gloo_p2p", "ring_isend")
    # One shot is as likely to drift one way as the other.
    topology = network(row, overhead_ns, gloo=gloo, drift=0.0)
    ended_s = _ends_s(topology, row.n, _messages(row, topology))
    return max(ended_s) if row.flow is None else ended_s[row.flow]


def _messages(row: Row, topology: Topology) -> list[PointToPoint]:
    """Return what is sent."""
    what, num_bytes, ranks = row.operation, row.num_bytes, tuple(range(row.n))
    built = Network(topology, row.n)
    if what in GLOO:
        return GLOO[what].messages(num_bytes, ranks, built)
    if what == "ring_isend":
        return with_ready(Ring().messages(num_bytes, ranks, built))
    pushes = [PointToPoint(rank, 0, num_bytes) for rank in ranks[1:]]
    pulls = [PointToPoint(0, rank, num_bytes) for rank in ranks[1:]]
    everything = tuple(range(len(pushes)))
    plain = {
        "p2p": pulls[:1],
        "p2p_xtrunk": pulls[-1:],
        "gloo_p2p": with_ready(pulls[:1]),
        "ps_push": pushes,
        "ps_pull": pulls,
        "ps_round": pushes + [each._replace(after=everything) for each in pulls],
    }
    return plain[what] if what in plain else _flows(row)


def _flows(row: Row) -> list[PointToPoint]:
    """Return flows that begin at once, from their sizes in the name."""
    kind, *words = row.operation.split("_")
    try:
        if kind.startswith("rtt"):
            named = [word.split(":") for word in words]
            return [PointToPoint(int(node[1:]), 0, _size(size)) for node, size in named]
        if words[0] == "mixed":
            inside, across = _size(words[1]), _size(words[3])
            return [PointToPoint(0, row.n // 2, across), PointToPoint(1, 2, inside)]
        if kind.startswith("flows"):
            return [
                PointToPoint(number, row.n // 2 + number, _size(size))
                for number, size in enumerate(words)
            ]
    except (IndexError, KeyError, ValueError):
        pass
    raise UnknownOperationError(f"{row.config}: unknown operation {row.op!r}")


def _size(text: str) -> int:
    return int(text[:-1]) * SIZES[text[-1]]


def _ends_s(topology: Topology, num_nodes: int, messages: Sequence[PointToPoint]) -> list[float]:
    """Return when each message has arrived."""
    clock = Clock()
    ended_ns = [0] * len(messages)

    def arrived(index: int) -> None:
        ended_ns[index] = clock.now_ns

    carrier = topology.transport.carrier(Fabric(clock, topology, num_nodes), seed=0)
    Exchange(carrier, Plan(messages), lambda: None, arrived=arrived)
    clock.run()
    return [each / 1e9 for each in ended_ns]


def _loop(topology: Topology, row: Row, seed: int) -> Loop:
    """Run workers that compute, push to node 0 and pull from it, again and again.

    A round counts if its push began in time: that is where the measured loops looked at the clock.
    """
    clock = Clock()
    carrier = topology.transport.carrier(Fabric(clock, topology, row.n, seed=seed), seed)
    looped_s = LOOPED_S[row.op.split("_")[0]]
    end_ns = round(looped_s * 1e9)
    comm_ns: list[int] = []
    staleness: list[int] = []
    begun = updates = 0

    def work(rank: int) -> Generator[Event, Any, None]:
        nonlocal begun, updates
        read = 0
        while True:
            yield clock.timeout(round(COMPUTE_S * 1e9))
            begun_ns = clock.now_ns
            if begun_ns > end_ns:
                return
            begun += 1
            arrived = clock.event()
            carrier.carry(rank, 0, row.num_bytes, arrived.succeed)
            yield arrived
            if read:
                # What was read before any update says nothing about staleness.
                staleness.append(updates - read)
            updates += 1
            read = updates
            arrived = clock.event()
            carrier.carry(0, rank, row.num_bytes, arrived.succeed)
            yield arrived
            comm_ns.append(clock.now_ns - begun_ns)

    workers = range(1, row.n)
    for rank in workers:
        clock.process(work(rank))
    clock.run()
    return Loop(
        begun / looped_s / len(workers),
        statistics.median(comm_ns) / 1e9,
        statistics.mean(staleness) if staleness else 0.0,
    )
