"""What others have published, beside what simbench says: published, simbench, ratio.

    python benchmarks/published.py                    # everything, some 15 s
    python benchmarks/published.py bandwidth          # one: bandwidth, slowmo, intellect, costs

All of it is planned by the clock alone, from scenarios. Where nothing else is said, vectors are
smaller than the published models, and links slower by the same factor: a bucket has 1,000 entries,
whatever it stands for.

- **bandwidth**: Gbit/s at which two datacenters reach a compute utilisation, from Streaming DiLoCo
  (arXiv:2501.18512, table 4), of which "Eager Updates" (arXiv:2502.12996, table 5) repeats the rows
  of data-parallel training and Streaming DiLoCo and adds models of 1B and 100B. Gradients, or in
  the last step of a period parameters, come out in as many buckets as the model has layers, along
  the last 2/3 of a step; 16 bit an entry. Published values lie on a grid of ratio 1.2068, step
  times are rounded. Each of Streaming DiLoCo's P fragments comes out in as many slices as the
  model has layers, without overlap with later steps (tau = 0), as in those rows. Its course repeats
  itself where H and P have a common factor, so that one repetition is planned: 25 steps and 4
  fragments for H = 100 and P = 16.
- **slowmo**: measured ms per iteration (arXiv:1910.00643, table 2): 32 nodes, 10 Gbit/s, a task
  that is priced as ResNet-50 in fp32.
- **intellect**: compute utilisation of INTELLECT-1 within the USA (arXiv:2412.01152).
- **costs**: the textbook's costs of an all-reduce of 100 MB on 8 nodes, 10 Gbit/s and 50 us
  (Thakur, Rabenseifner, Gropp 2005), and of servers.
"""

import math
from enum import StrEnum
from typing import Annotated, NamedTuple

import typer

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.pricing import Pricing
from simbench.learning.pricings.known import Known
from simbench.learning.task import Task
from simbench.network.collective import AllReduce, seconds
from simbench.network.collectives.all_reduce.binomial import Binomial
from simbench.network.collectives.all_reduce.colocated_servers import ColocatedServers
from simbench.network.collectives.all_reduce.halving_doubling import HalvingDoubling
from simbench.network.collectives.all_reduce.recursive_doubling import RecursiveDoubling
from simbench.network.collectives.all_reduce.ring import Ring
from simbench.network.collectives.all_reduce.servers import Servers
from simbench.network.topologies.star import Star
from simbench.scenario import Scenario, Stop
from simbench.simulation import Simulation
from simbench.strategies.averaging import Averaging
from simbench.strategies.streaming_diloco import StreamingDiLoCo

ENTRIES = 1000
"""Of a bucket: enough for a byte that is left over to cost less than 1 in 1,000."""
ENTRY_BITS = 32


class Case(NamedTuple):
    """A model on two datacenters, and how often what part of it is averaged."""

    name: str
    parameters: float
    step_ns: int
    buckets: int
    """Of what is averaged at once."""
    period: int = 1
    """H, steps from one averaging to the next of the same."""
    fragments: int = 1
    """P, parts of the model that are averaged in turn."""
    overlap: int = 0
    """tau, steps that an averaging may take without anybody waiting."""

    @property
    def every(self) -> float:
        """Steps from one averaging to the next."""
        return self.period / self.fragments

    @property
    def bits(self) -> float:
        """What each datacenter sends in an averaging: 2 (1 - 1/M) times 16 bit, with M = 2."""
        return 16 * self.parameters / self.fragments

    def closed_form_bps(self, utilisation: float) -> float:
        """Return the bandwidth that infinitely many buckets would need."""
        exposed = self.every * (1 - utilisation) / utilisation + self.overlap + 2 / 3
        return self.bits / (self.step_ns / 1e9 * exposed)


UTILISATIONS = (0.5, 0.8, 0.9, 0.95, 0.99)

PUBLISHED_GBPS = {
    Case("data-parallel 1B", 1e9, 100 * 10**6, 24): (86.8, 152.6, 184.2, 222.3, 569.0),
    Case("data-parallel 10B", 10e9, 800 * 10**6, 48): (104.8, 222.3, 222.3, 268.3, 471.5),
    Case("data-parallel 100B", 100e9, 4900 * 10**6, 108): (184.2, 323.8, 390.7, 390.7, 471.5),
    Case("DiLoCo 10B", 10e9, 800 * 10**6, 48, 100): (1.7, 7.5, 16.0, 33.9, 104.8),
    Case("Streaming DiLoCo 1B", 1e9, 100 * 10**6, 24, 100, 8): (1.4, 5.2, 9.1, 16.0, 28.1),
    Case("Streaming DiLoCo 10B", 10e9, 800 * 10**6, 48, 100, 16): (1.7, 5.2, 9.1, 13.3, 19.3),
    Case("Streaming DiLoCo 100B", 100e9, 4900 * 10**6, 108, 100, 36): (
        *(2.4, 6.2, 9.1, 11.0, 19.3),
    ),
}


COSTS_STAR = Star(bandwidth=10 * 10**9, latency=50_000)
COSTS_MS: dict[AllReduce, float] = {
    Ring(): 140.7,
    HalvingDoubling(): 140.3,
    RecursiveDoubling(): 240.15,
    Binomial(): 480.3,
    Servers(): 1280.1,
    ColocatedServers(): 140.1,
}


class Table(StrEnum):
    """What can be printed."""

    everything = "all"
    bandwidth = "bandwidth"
    slowmo = "slowmo"
    intellect = "intellect"
    costs = "costs"


def main(table: Annotated[Table, typer.Argument()] = Table.everything) -> None:
    """Print the tables."""
    if table in (Table.everything, Table.bandwidth):
        print("Gbit/s for a compute utilisation of")
        for case, row in PUBLISHED_GBPS.items():
            for utilisation, published in zip(UTILISATIONS, row, strict=True):
                say(
                    f"{case.name}, {utilisation:.0%}",
                    published,
                    needed_bps(case, utilisation) / 1e9,
                )
    if table in (Table.everything, Table.slowmo):
        print("ms per iteration")
        say("all-reduce", 420, slowmo_iteration_ms(1))
        say("local SGD, H = 12, published as 282 to 294", 288, slowmo_iteration_ms(12))
    if table in (Table.everything, Table.intellect):
        print("% of the time spent computing")
        say("INTELLECT-1, all-reduce of 103 s after 38 min", 95.7, 100 * intellect_utilisation())

    if table in (Table.everything, Table.costs):
        print("ms of an all-reduce")
        for all_reduce, published_ms in COSTS_MS.items():
            ours_s = seconds(all_reduce, 100 * 10**6, range(8), COSTS_STAR)
            say(all_reduce.kind.replace("_", " "), published_ms, 1e3 * ours_s)


def say(what: str, published: float, ours: float) -> None:
    """Print one cell."""
    print(f"  {what:<46} {published:8.1f} {ours:8.1f}   ratio {ours / published:.2f}")


# -- bandwidth for a compute utilisation


def needed_bps(case: Case, utilisation: float) -> float:
    """Return the least bandwidth at which plans of ``case`` reach ``utilisation``, within 1 %."""
    low = case.closed_form_bps(utilisation) / 2
    high = 16 * low
    assert utilisation_at(case, low) < utilisation <= utilisation_at(case, high)
    while high > 1.01 * low:
        middle = (low * high) ** 0.5
        if utilisation_at(case, middle) < utilisation:
            low = middle
        else:
            high = middle
    return high


def utilisation_at(case: Case, bandwidth_bps: float) -> float:
    """Return the share of the time in which ``case`` computes, with links of ``bandwidth_bps``."""
    common = math.gcd(case.period, case.fragments)
    period, fragments = case.period // common, case.fragments // common
    entries = fragments * case.buckets * ENTRIES
    slowed_by = case.bits / (case.buckets * ENTRIES * ENTRY_BITS)
    strategy: Averaging | StreamingDiLoCo = (
        Averaging(period=period, bucket=ENTRIES * ENTRY_BITS // 8)
        if fragments == 1
        else StreamingDiLoCo(
            period=period, fragments=fragments, slices=case.buckets, overlap=case.overlap
        )
    )
    end_ns = planned_ns(strategy, 2, case.step_ns, entries, round(bandwidth_bps / slowed_by))
    return period * case.step_ns / end_ns


def planned_ns(
    strategy: Averaging | StreamingDiLoCo,
    nodes: int,
    step_ns: int,
    entries: int,
    bandwidth_bps: int,
    priced_as: Pricing | None = None,
) -> int:
    """Return the virtual time of one period: its steps, and the averaging after the last."""
    scenario = Scenario(
        name="published",
        task=Task(
            model=Quadratic(dimension=entries),
            data=Gaussian(),
            batch_size=1,
            priced_as=priced_as,
        ),
        cluster=Cluster(nodes=nodes, machine=Fixed(step_time=step_ns, jitter=Constant())),
        network=Star(bandwidth=bandwidth_bps, latency=0),
        strategies={"only": strategy},
        evaluate_every=strategy.period,
        stop=Stop(updates=strategy.period),
        seeds=(0,),
    )
    simulation = Simulation(scenario, "only", 0)
    while simulation.advance():
        pass
    assert simulation.ended_by == "updates", simulation.who_waits()
    return simulation.end_ns


# -- measured on clusters


def slowmo_iteration_ms(period: int) -> float:
    """Return the time of an iteration; computing takes 271 ms, as the published overlap row shows.

    Without overlap: nothing of what is sent is hidden in the published numbers of these two.
    """
    step_ns, entries = 271 * 10**6, ENTRIES
    resnet = Known(name="resnet-50", precision="fp32")
    strategy = Averaging(period=period)
    return planned_ns(strategy, 32, step_ns, entries, 10**10, resnet) / period / 1e6


def intellect_utilisation() -> float:
    """Return the share of computing: 14 nodes, 100 steps in 38 min, a ring that takes 103 s."""
    nodes, steps, step_ns, entries = 14, 100, 22_800_000_000, 14_000
    ring_bits = 2 * (nodes - 1) / nodes * entries * ENTRY_BITS
    end_ns = planned_ns(Averaging(period=steps), nodes, step_ns, entries, round(ring_bits / 103))
    return steps * step_ns / end_ns


if __name__ == "__main__":
    typer.run(main)
