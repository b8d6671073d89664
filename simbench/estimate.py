"""What a run will take, told before it starts: gradients, time, disk."""

import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.execution.values import Graph
from simbench.learning.operations import Bench
from simbench.learning.training import Training
from simbench.scenario import Scenario
from simbench.search import candidates
from simbench.simulation import Simulation, fingerprint_text, simulation_on

_SAMPLED_VERSIONS = 10
"""Evaluations that the clock runs to, beyond those known, to learn a strategy's pace."""
_TIMING_S = 0.25
"""For so long gradients are timed, once the first has warmed up."""
_ROUND_S = 0.03
"""A round of gradients that takes less is mostly calls."""
_BYTES_PER_MESSAGE = 60
"""Compressed size of a message's row and of the spans that it makes; measured on the quickstart."""


@dataclass(frozen=True)
class Estimate:
    """What to expect if the budget is used up: a target that is met earlier makes it less.

    Gradients that workers are still at when the budget ends aren't counted, a few per worker.
    """

    gradients: int
    gradients_known: int
    wall_s: float
    disk_bytes: int

    def __str__(self) -> str:
        if not self.gradients:
            return (
                f"nothing to train: the losses of all {self.gradients_known:,} gradients are known"
            )
        minutes, seconds = divmod(round(self.wall_s), 60)
        # Evaluations, compression and the clock come on top, and so does who else uses the cores.
        takes = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        return (
            f"up to about {self.gradients:,} gradients to compute until the budget ends, "
            f"{self.gradients_known:,} known; the gradients alone take up to about {takes} here; "
            f"{self.disk_bytes / 1e6:.1f} MB of records"
        )


def estimate(scenario: Scenario, executor: Executor, memo: Memo) -> Estimate:
    """Return what ``scenario`` will take on ``executor`` with what ``memo`` knows."""
    known = messages = 0
    # What trains the same at several points is trained once, as far as the furthest goes.
    furthest: dict[tuple[str, int, bytes], int] = {}
    for played, strategy, seed, is_compared in _simulated(scenario):
        simulation = simulation_on(executor, played, strategy, seed, memo=memo)
        key, computed, not_computed, sent = _expect(simulation, memo)
        course = strategy, seed, key
        again = min(computed, furthest.get(course, 0))
        furthest[course] = max(computed, furthest.get(course, 0))
        known += not_computed + again
        messages += sent if is_compared else 0
    executor.cancel()
    gradients = sum(furthest.values())
    each_s = _gradient_s(scenario.points[0].scenario, executor) if gradients else 0.0
    return Estimate(
        gradients, known, gradients * each_s / executor.width, messages * _BYTES_PER_MESSAGE
    )


def _simulated(scenario: Scenario) -> Iterator[tuple[Scenario, str, int, bool]]:
    """Yield every scenario, strategy and seed that a run goes through; and if it is compared."""
    for each in candidates(scenario):
        yield each.scenario, each.strategy, each.seed, False
    for point in scenario.points:
        for strategy in scenario.strategies:
            for seed in scenario.seeds:
                yield point.scenario, strategy, seed, True


def _expect(simulation: Simulation, memo: Memo) -> tuple[bytes, int, int, int]:
    """Return what is trained, by a key; gradients to compute, gradients known and messages.

    The numbers are those of a budget that is used up.
    """
    stop, batch = simulation.scenario.stop, simulation.scenario.task.samples_per_step
    sampled = samples = progress = 0
    course = b""
    first_unknown = None
    while simulation.versions or simulation.advance():
        version = simulation.versions.popleft()
        progress, samples = version.progress, simulation.samples(version.progress)
        found = memo.get(version.recipe.key) if first_unknown is None else None
        if found is not None and stop.loss is not None and found["loss"] <= stop.loss:
            return course, 0, samples // batch, version.num_messages
        if found is None:
            first_unknown = version
            course = version.recipe.key
            sampled += 1
            if sampled > _SAMPLED_VERSIONS:
                break
    if first_unknown is None:
        return course, 0, samples // batch, len(simulation.world.messages)
    # Shares of the budgets that are used up; the first to be used up ends the run.
    now_ns = max(1, simulation.clock.now_ns)
    used = [
        now_ns / stop.virtual_time if stop.virtual_time else 0,
        samples / stop.samples if stop.samples else 0,
        progress / stop.updates if stop.updates else 0,
    ]
    whole = max(1.0, 1 / max(*used, 1e-9)) if simulation.ended_by is None else 1.0
    sent = round(len(simulation.world.messages) * whole)
    return course, round(samples / batch * whole), 0, sent


def _gradient_s(scenario: Scenario, executor: Executor) -> float:
    """Measure gradients where they will run; return the median time of one.

    Each actor imports what it needs and draws its data at its first gradient, so the first round
    warms up. A round that is over at once tells how long an answer takes to arrive, so rounds
    grow until they don't.
    """
    workers = scenario.cluster.nodes
    bench = Bench(
        scenario.task,
        scenario.seeds[0],
        workers,
        executor.device,
        fingerprint_text(executor),
        scenario.shard_weights,
    )
    training = Training(Graph(), bench, scenario.task.optimizer, partition=scenario.partition)
    initial, _ = training.initial(0)
    ranks = [index * workers // executor.width for index in range(executor.width)]
    steps = itertools.count()

    def time_round(size: int) -> float:
        """Return the time of one gradient when each rank computes ``size`` of them."""
        chosen = list(itertools.islice(steps, size))
        sums = [
            training.mix([training.gradient(initial, rank, step) for step in chosen], None, rank)
            for rank in ranks
        ]
        begun_s = time.perf_counter()
        for promise in [executor.start(each) for each in sums]:
            promise.result()
        return (time.perf_counter() - begun_s) / size

    time_round(1)
    timed: list[float] = []
    size, ends_s = 1, time.perf_counter() + _TIMING_S
    while not timed or time.perf_counter() < ends_s:
        timed.append(time_round(size))
        if timed[-1] * size < _ROUND_S:
            size, timed = 2 * size, []
    return statistics.median(timed)
