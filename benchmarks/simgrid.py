"""Finish times of random flows, against SimGrid's.

    python benchmarks/simgrid.py            # a table, with the largest difference of each case

SimGrid's model CM02 shares links in proportion to 1/latency of each flow's way, so simbench is
asked for the same weights; where all latencies are equal, it is asked for none. The peer is
Debian's python3-simgrid, which belongs to Debian's own interpreter and runs as a process of it.
"""

import json
import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import typer

from simbench.clock import Clock
from simbench.network.fabric import Fabric
from simbench.network.topologies.leaf_spine import LeafSpine
from simbench.network.topologies.star import Star
from simbench.network.topologies.torus import Torus
from simbench.network.topology import Network, Topology

INTERPRETER = "/usr/bin/python3"
PEERS = Path(__file__).parent / "peers"
MS = 10**6
NUM_NODES = 16

TOPOLOGIES: dict[str, Topology] = {
    "star": Star(bandwidth=10**9, latency=2 * MS),
    "leaf-spine, 4:1": LeafSpine(
        bandwidth=10**9, latency=MS, nodes_per_leaf=4, spines=2, oversubscription=4.0
    ),
    "torus, 4 x 4": Torus(bandwidth=10**9, latency=MS, dims=(4, 4)),
}


class Sent(NamedTuple):
    """A flow of a case."""

    sender: int
    receiver: int
    num_bytes: int
    start_ns: int


class Case(NamedTuple):
    """Random flows over a topology."""

    topology: Topology
    flows: list[Sent]
    weighted: bool
    """By 1/latency of their ways; or all alike, over ways of one latency."""


class Agreement(NamedTuple):
    """How two lists of finish times compare."""

    largest_relative: float
    largest_allowed: float
    """Largest difference over what is allowed: 1e-6, or 2 ns per change of rate."""


def why_not() -> str | None:
    """Return why SimGrid can't be asked here, or None if it can."""
    try:
        asked = subprocess.run(  # noqa: S603 - what it runs stands here
            [INTERPRETER, "-I", "-c", "import simgrid"], capture_output=True, check=False
        )
    except OSError:
        return f"there is no {INTERPRETER}"
    return "python3-simgrid isn't installed" if asked.returncode else None


def case(topology: Topology, num_flows: int, seed: int, *, weighted: bool) -> Case:
    """Draw flows of 10 ms at least between nodes of ``topology``, begun within 100 ms."""
    draw = random.Random(seed)  # noqa: S311 - not a secret
    network = Network(topology, NUM_NODES)
    pairs = [(a, b) for a in range(NUM_NODES) for b in range(NUM_NODES) if a != b]
    latencies = {pair: network.path(*pair).latency_ns for pair in pairs}
    if not weighted:
        ((commonest, _),) = Counter(latencies.values()).most_common(1)
        pairs = [pair for pair in pairs if latencies[pair] == commonest]
    fastest_bps = max(link.rate_bps for link in network.links)
    least_bytes = fastest_bps // 100 // 8
    flows = [
        Sent(*pair, draw.randint(least_bytes, 10 * least_bytes), draw.randrange(100 * MS))
        for pair in draw.choices(pairs, k=num_flows)
    ]
    return Case(topology, flows, weighted)


def by_simbench(asked: Case) -> list[int]:
    """Return when each flow ends, in ns."""
    clock = Clock()
    fabric = Fabric(clock, asked.topology, NUM_NODES)
    ended_ns = [0] * len(asked.flows)

    def begin(number: int) -> None:
        flow = asked.flows[number]
        latency_ns = fabric.network.path(flow.sender, flow.receiver).latency_ns

        def finished() -> None:
            ended_ns[number] = clock.now_ns

        fabric.carry(
            flow.sender,
            flow.receiver,
            flow.num_bytes,
            finished,
            weight=1e9 / latency_ns if asked.weighted else 1.0,
        )

    for number, flow in enumerate(asked.flows):
        clock.timeout(flow.start_ns).callbacks.append(lambda _, number=number: begin(number))
    clock.run()
    return ended_ns


def by_simgrid(asked: Case) -> list[float]:
    """Return when each flow ends, in ns."""
    network = Network(asked.topology, NUM_NODES)
    problem = {
        "nodes": NUM_NODES,
        "links": [[link.rate_bps, link.latency_ns / 1e9] for link in network.links],
        "flows": [
            [
                flow.sender,
                flow.receiver,
                flow.num_bytes,
                flow.start_ns / 1e9,
                network.path(flow.sender, flow.receiver).links,
            ]
            for flow in asked.flows
        ],
    }
    answer = subprocess.run(  # noqa: S603 - it is a file of ours
        [INTERPRETER, "-I", str(PEERS / "simgrid_flows.py")],
        input=json.dumps(problem),
        capture_output=True,
        check=True,
        text=True,
    )
    return [1e9 * ended_s for ended_s in json.loads(answer.stdout)]


def agreement(asked: Case) -> Agreement:
    """Compare finish times; every flow that begins or ends meanwhile may change a rate."""
    ours_ns, theirs_ns = by_simbench(asked), by_simgrid(asked)
    network = Network(asked.topology, NUM_NODES)
    begun_ns = [
        flow.start_ns + network.path(flow.sender, flow.receiver).latency_ns for flow in asked.flows
    ]
    moments = [*begun_ns, *ours_ns]
    relative, allowed = 0.0, 0.0
    for begin_ns, our_ns, their_ns in zip(begun_ns, ours_ns, theirs_ns, strict=True):
        changes = sum(begin_ns <= moment <= our_ns for moment in moments)
        difference_ns = abs(our_ns - their_ns)
        relative = max(relative, difference_ns / their_ns)
        allowed = max(allowed, difference_ns / max(1e-6 * their_ns, 2 * changes))
    return Agreement(relative, allowed)


def main(num_flows: int = 200, seeds: int = 5) -> None:
    """Print the table as Markdown."""
    reason = why_not()
    if reason:
        raise typer.BadParameter(reason)
    print("| topology | weights | flows | largest difference | of what is allowed |")
    print("| --- | --- | --- | --- | --- |")
    for name, topology in TOPOLOGIES.items():
        for weighted in (True, False):
            found = [
                agreement(case(topology, num_flows, seed, weighted=weighted))
                for seed in range(seeds)
            ]
            print(
                f"| {name} | {'1/latency' if weighted else 'none'} | {seeds} x {num_flows} "
                f"| {max(each.largest_relative for each in found):.1e} "
                f"| {max(each.largest_allowed for each in found):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
