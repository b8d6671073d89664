"""The clock plane alone: what a scenario costs in virtual time and bytes, without training."""

from collections import Counter
from typing import NamedTuple

from simbench.execution.memo import Memo
from simbench.execution.values import GIVEN, in_order
from simbench.network.fabric import Fabric
from simbench.records import Span
from simbench.report.bundles import LinkUse
from simbench.scenario import Scenario
from simbench.simulation import Simulation


class StrategyPlan(NamedTuple):
    """What one strategy does until the budget ends it, with one seed. No loss is known here."""

    strategy: str
    kind: str
    seed: int
    machines: int
    ended_by: str
    stuck: str | None
    """Who waits for whom, where everybody waits."""
    end_ns: int
    samples: int
    seconds_per_round: float | None
    """Virtual seconds for one batch of every worker; None without any update."""
    samples_per_s: float
    payload_bytes_per_sample: float | None
    """Bytes handed to the network by all nodes together; None without any update."""
    compute_share: float
    """Share of the workers' time spent computing."""
    wait_share: float
    """Share of the workers' time in which nothing happens."""
    down_share: float
    """Share of the workers' time in which they are down."""
    mean_staleness_updates: float
    gradients: int
    """Gradients behind the evaluations until then."""
    gradients_known: int
    """Of those, how many the memo makes needless."""
    links: tuple[LinkUse, ...]
    """Every link, and the share of its capacity that messages took which had arrived by the end."""

    @property
    def busiest(self) -> LinkUse | None:
        """The link of the largest share; None without any."""
        return max(self.links, key=lambda link: link.share, default=None)

    @property
    def busiest_share(self) -> float | None:
        """That share: low where workers wait for latency rather than for bandwidth."""
        return None if self.busiest is None else self.busiest.share


def plan(
    scenario: Scenario,
    strategy: str,
    seed: int,
    memo: Memo,
    fingerprint: str,
    planned: set[bytes] | None = None,
) -> StrategyPlan:
    """Run the clock of ``strategy`` to the budget of ``scenario``.

    Args:
        scenario: one point of a sweep, if there is one.
        strategy: the name of one of its strategies.
        seed: one of its seeds, or another.
        memo: the losses that are known.
        fingerprint: of the machine that would train.
        planned: the keys of losses that earlier points will have made known; those of this one are
            added.

    Raises:
        NoNumbersError: the strategy looks at numbers to decide what it does.
    """
    simulation = Simulation(scenario, strategy, seed, fingerprint=fingerprint)
    counted: Counter[bool] = Counter()
    seen: set[bytes] = set()
    known, losses = True, set() if planned is None else planned
    mine: set[bytes] = set()
    while True:
        while simulation.versions:
            version = simulation.versions.popleft()
            key = version.recipe.key
            mine.add(key)
            # The first unknown loss wants everything that came before it.
            if known and key not in losses and memo.get(key) is None:
                known = False
                counted[False], counted[True] = counted[True], 0
            for each in in_order([version.recipe], lambda recipe: recipe.key not in seen, GIVEN):
                seen.add(each.key)
                counted[known] += each.operation.name == "gradient"
        if not simulation.advance():
            break
    losses |= mine
    simulation.finish_instant(simulation.end_ns)
    return _sum_up(simulation, counted)


def _sum_up(simulation: Simulation, counted: Counter[bool]) -> StrategyPlan:
    scenario = simulation.scenario
    workers, end_ns = scenario.cluster.nodes, max(1, simulation.end_ns)
    samples = simulation.samples(simulation.updates[-1].update if simulation.updates else 0)
    messages = simulation.messages_until(end_ns)
    tiles = simulation.spans_until(end_ns, messages)

    def share(activity: str) -> float:
        return _length_ns(tiles, activity, workers) / (workers * end_ns)

    staleness = [update.staleness_updates for update in simulation.updates]
    return StrategyPlan(
        simulation.name,
        simulation.strategy.kind,
        simulation.seed,
        simulation.num_nodes,
        str(simulation.ended_by),
        simulation.who_waits() if simulation.ended_by == "stuck" else None,
        simulation.end_ns,
        samples,
        end_ns / 1e9 * workers * scenario.task.samples_per_step / samples if samples else None,
        samples / (end_ns / 1e9),
        sum(message.num_bytes for message in messages) / samples if samples else None,
        share("compute"),
        share("wait"),
        share("down"),
        sum(staleness) / len(staleness) if staleness else 0.0,
        counted[True] + counted[False],
        counted[True],
        _link_uses(simulation.world.fabric, end_ns),
    )


def _link_uses(fabric: Fabric, end_ns: int) -> tuple[LinkUse, ...]:
    carried = fabric.carried_bytes()
    return tuple(
        LinkUse(
            link.tail,
            link.head,
            link.rate_bps,
            8e9 * carried.get(index, 0) / (link.rate_bps * end_ns),
        )
        for index, link in enumerate(fabric.network.links)
    )


def _length_ns(tiles: list[Span], activity: str, workers: int) -> int:
    return sum(t.end_ns - t.start_ns for t in tiles if t.activity == activity and t.node < workers)
