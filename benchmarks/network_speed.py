"""Speed of the network, as ratios measured side by side in one run.

    python benchmarks/network_speed.py                  # everything, some minutes
    python benchmarks/network_speed.py transfers        # one claim
    python benchmarks/network_speed.py asynchronous --plot growth.png

Processor time is compared, so that a busy machine spoils little; rounds alternate between the two
sides, and the median ratio is quoted. The unit for what has no peer is a bare timeout of SimPy: one
process that waits again and again. Peers are Debian's python3-simgrid and libsimgrid-dev (SMPI),
which run as processes of their own.
"""

import gc
import json
import math
import random
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Generator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import simpy
import typer
from matplotlib import pyplot as plt

from simbench.clock import Clock
from simbench.network.collective import Exchange, Plan
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.fabric import Fabric
from simbench.network.topologies.star import Star

PEERS = Path(__file__).parent / "peers"
STAR = Star(bandwidth=10**9, latency=100_000)
MB = 10**6


class Claim(StrEnum):
    """What can be measured."""

    everything = "all"
    transfers = "transfers"
    all_reduce = "all-reduce"
    asynchronous = "asynchronous"


def main(
    claim: Annotated[Claim, typer.Argument()] = Claim.everything,
    rounds: Annotated[int, typer.Option(help="Pairs of measurements for each ratio.")] = 5,
    async_rounds: Annotated[int, typer.Option(help="Rounds of each of 1,000 workers.")] = 1000,
    plot: Annotated[Path | None, typer.Option(help="Where to draw cost against workers.")] = None,
) -> None:
    """Measure and print the claims."""
    # As during a run: else collections of garbage would look through all that was imported.
    gc.collect()
    gc.freeze()
    if claim in (Claim.everything, Claim.transfers):
        transfers(rounds)
    if claim in (Claim.everything, Claim.all_reduce):
        all_reduces(rounds)
    if claim in (Claim.everything, Claim.asynchronous):
        asynchronous(async_rounds, plot)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"peak memory of this process: {peak_mb:.0f} MB (aim: below 1,000)")


def transfers(rounds: int) -> None:
    """Ring all-reduces of which every transfer is simulated, against SimGrid's Python binding.

    Its actors are threads. Handing over from one to the next takes more processor time on a busy
    machine, so every round of ours is compared with its fastest round, too.
    """
    for nodes, all_reduces_each in ((8, 100), (32, 10), (128, 4)):
        theirs: dict[str, list[float]] = {"actors": [], "one_actor": []}
        ours = []
        for _ in range(rounds):
            ours.append(simulated_rate(nodes, all_reduces_each))
            for style, rates in theirs.items():
                rates.append(simgrid_rate(nodes, all_reduces_each, style))
        what = f"{nodes} nodes: transfers/s, over SimGrid with"
        each, one = theirs["actors"], theirs["one_actor"]
        say(f"{what} an actor per node", [a / b for a, b in zip(ours, each, strict=True)], 20)
        say(f"{what} an actor per node, its fastest round", [a / max(each) for a in ours], None)
        say(f"{what} one actor for all", [a / b for a, b in zip(ours, one, strict=True)], None)
        print(f"  simbench: {statistics.median(ours):,.0f} transfers/s of processor time")


def simulated_rate(nodes: int, count: int) -> float:
    """Return transfers per second of ``count`` ring all-reduces, message by message."""
    begun_s = time.process_time()
    num_messages = run_all_reduces(nodes, count, "messages", MB)
    assert num_messages == 2 * (nodes - 1) * nodes * count
    return num_messages / (time.process_time() - begun_s)


def run_all_reduces(nodes: int, count: int, simulate: str, num_bytes: int) -> int:
    """Run ring all-reduces one after the other; return how many transfers were simulated.

    All have one plan, as those of a run have.
    """
    clock = Clock()
    fabric = Fabric(clock, STAR, nodes)
    ring = Ring(simulate=simulate)  # type: ignore[arg-type]
    plan = Plan(ring.transfers(num_bytes, tuple(range(nodes)), fabric.network))
    left = count

    def begin() -> None:
        nonlocal left
        if left:
            left -= 1
            Exchange(fabric, plan, begin)

    begin()
    clock.run()
    steps = 2 * (nodes - 1)
    expected_ns = count * (steps * 100_000 + steps * 8 * num_bytes / nodes)
    assert abs(clock.now_ns - expected_ns) <= 1e-6 * expected_ns + count * steps * nodes
    return count * len(plan.messages)


def simgrid_rate(nodes: int, count: int, style: str) -> float:
    """Return transfers per second of SimGrid's Python binding, without its start-up."""
    command = ["/usr/bin/python3", "-I", str(PEERS / "simgrid_ring.py"), str(nodes), str(count)]
    answer = subprocess.run(  # noqa: S603 - a file of ours
        [*command, style], capture_output=True, check=True, text=True
    )
    num_transfers, taken_s, virtual_s = json.loads(answer.stdout)
    steps = 2 * (nodes - 1) * count
    assert abs(virtual_s - steps * (1e-4 + 8e-3 / nodes)) <= 1e-4 * virtual_s
    return num_transfers / taken_s


def all_reduces(rounds: int) -> None:
    """Five ring all-reduces of 10 MB: 256 nodes against SMPI, 10,000 against bare timeouts."""
    ratios = []
    for _ in range(min(rounds, 3)):
        theirs_s = smpi_seconds(256, 5)
        begun_s = time.process_time()
        run_all_reduces(256, 5, "flows", 10 * MB)
        ours_s = time.process_time() - begun_s
        print(f"  256 nodes: SMPI {theirs_s:.1f} s, simbench {ours_s:.3f} s")
        ratios.append(theirs_s / ours_s)
    say("five ring all-reduces of 10 MB on 256 nodes: SMPI / simbench", ratios, 50)
    costs = []
    for _ in range(rounds):
        timeout_s = bare_timeout_s()
        begun_s = time.process_time()
        run_all_reduces(10_000, 5, "flows", 10 * MB)
        costs.append((time.process_time() - begun_s) / timeout_s / 1e6)
    say("the same on 10,000 nodes, in million bare timeouts", costs, 2, at_most=True)


def smpi_seconds(nodes: int, count: int) -> float:
    """Return the processor time of SMPI for as many all-reduces of 10 MB, message by message."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hosts").write_text("".join(f"h{rank}\n" for rank in range(nodes)))
        (folder / "platform.xml").write_text(
            "<?xml version='1.0'?>\n"
            '<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">\n'
            '<platform version="4.1"><cluster id="c" prefix="h" suffix="" '
            f'radical="0-{nodes - 1}" speed="1Gf" bw="125MBps" lat="50us"/></platform>\n'
        )
        binary = str(folder / "ring")
        build = ["smpicc", "-O2", str(PEERS / "smpi_ring.c"), "-o", binary]
        subprocess.run(build, check=True, capture_output=True)  # noqa: S603 - a file of ours
        options = ["network/model:CM02", "network/crosstraffic:0", "smpi/simulate-computation:no"]
        command = ["smpirun", "-np", str(nodes), "-platform", str(folder / "platform.xml")]
        command += ["-hostfile", str(folder / "hosts"), "--log=root.thresh:error"]
        command += ["--cfg=" + option for option in options]
        before_s = children_s()
        answer = subprocess.run(  # noqa: S603 - what it runs stands here
            [*command, binary, str(10 * MB), str(count)],
            capture_output=True,
            check=True,
            text=True,
            cwd=folder,
        )
        taken_s = children_s() - before_s
    steps = 2 * (nodes - 1)
    expected_s = count * (steps * 1e-4 + steps * 0.08 / nodes)
    assert abs(float(answer.stdout.split()[-1]) - expected_s) <= 1e-2 * expected_s
    return taken_s


def children_s() -> float:
    """Return the processor time of the processes that this one has started and awaited."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def asynchronous(async_rounds: int, plot: Path | None) -> None:
    """Workers that compute, push 1 MB to one server and pull 1 MB from it, again and again."""
    costs = {}
    for workers in (10, 30, 100, 300, 1000):
        found = []
        repeats = 3 if workers < 1000 else 1
        # As many transfers for all, but for the largest, which is the claim.
        rounds = 60_000 // workers if workers < 1000 else async_rounds
        for _ in range(repeats):
            timeout_s = bare_timeout_s()
            taken_s, transfers = run_asynchronous(workers, rounds)
            timeout_s = (timeout_s + bare_timeout_s()) / 2
            found.append(taken_s / transfers / timeout_s)
        costs[workers] = statistics.median(found)
        print(f"  {workers} workers: {costs[workers]:.1f} bare timeouts per transfer")
    print(
        f"1,000 workers x {async_rounds} rounds behind one server: {transfers:,} transfers in "
        f"{costs[1000] * transfers / 1e6:.1f} million bare timeouts, {taken_s:.1f} s "
        f"(aim: at most {30 * transfers / 1e6:.0f})"
    )
    growth = costs[1000] / costs[10]
    print(
        f"cost per transfer, 1,000 workers over 10: {growth:.2f} (aim: at most 3, as log N grows)"
    )
    if plot:
        draw(costs, plot)


def run_asynchronous(workers: int, rounds: int) -> tuple[float, int]:
    """Return processor time and transfers of ``workers`` processes of SimPy."""
    clock = Clock()
    fabric = Fabric(clock, STAR, workers + 1)
    server = workers
    arrived = 0

    def work(rank: int) -> Generator[simpy.Event, Any, None]:
        nonlocal arrived
        draw = random.Random(rank)  # noqa: S311 - not a secret
        for _ in range(rounds):
            yield clock.timeout(round(draw.uniform(5e6, 15e6)))
            for sender, receiver in ((rank, server), (server, rank)):
                here = clock.event()
                fabric.carry(sender, receiver, MB, here.succeed)
                yield here
                arrived += 1

    for rank in range(workers):
        clock.process(work(rank))
    begun_s = time.process_time()
    clock.run()
    taken_s = time.process_time() - begun_s
    assert arrived == 2 * workers * rounds
    return taken_s, arrived


def draw(costs: dict[int, float], path: Path) -> None:
    """Draw cost per transfer against the number of workers, beside a curve that grows as log N."""
    mpl.use("agg")
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    workers = list(costs)
    start = costs[workers[0]]
    axes.plot(workers, list(costs.values()), "o-", label="measured")
    axes.plot(
        workers,
        [start * math.log(n) / math.log(workers[0]) for n in workers],
        "--",
        color="grey",
        label="as log N grows",
    )
    axes.set(
        xscale="log",
        ylim=(0, None),
        xlabel="workers behind one server",
        ylabel="bare SimPy timeouts per transfer",
    )
    axes.legend()
    figure.savefig(path, dpi=120)


def bare_timeout_s(count: int = 200_000) -> float:
    """Return the processor time of one timeout of SimPy, in a process that does nothing else."""
    env = simpy.Environment()

    def wait() -> Generator[simpy.Event, Any, None]:
        for _ in range(count):
            yield env.timeout(1)

    env.process(wait())
    begun_s = time.process_time()
    env.run()
    return (time.process_time() - begun_s) / count


def say(what: str, ratios: list[float], aim: float | None, *, at_most: bool = False) -> None:
    """Print the median and the range."""
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    wanted = "" if aim is None else f" (aim: at {'most' if at_most else 'least'} {aim})"
    print(f"{what}: {middle:.3g} [{low:.3g} to {high:.3g}]{wanted}", flush=True)


if __name__ == "__main__":
    typer.run(main)
