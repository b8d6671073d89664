"""What a run will take, told before it starts: gradients, time, disk."""

import time
from dataclasses import dataclass

from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.execution.values import Graph
from simbench.learning.operations import Bench
from simbench.learning.training import Training
from simbench.scenario import Scenario
from simbench.simulation import Simulation, fingerprint_text, simulation_on

_SAMPLED_VERSIONS = 10
"""Evaluations that the clock runs to, beyond those known, to learn a strategy's pace."""
_BYTES_PER_MESSAGE = 60
"""Compressed size of a message's row and of the spans that it makes; measured on the quickstart."""


@dataclass(frozen=True)
class Estimate:
    """What to expect at most: a target that is met earlier makes it less."""

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
        return (
            f"at most {self.gradients:,} gradients to compute until the budget ends, "
            f"{self.gradients_known:,} known; at most {minutes} min {seconds} s here, "
            f"{self.disk_bytes / 1e6:.1f} MB of records"
        )


def estimate(scenario: Scenario, executor: Executor, memo: Memo) -> Estimate:
    """Return what ``scenario`` will take on ``executor`` with what ``memo`` knows."""
    gradients = known = messages = 0
    for strategy in scenario.strategies:
        for seed in scenario.seeds:
            simulation = simulation_on(executor, scenario, strategy, seed, memo=memo)
            computed, not_computed, sent = _expect(simulation, memo)
            gradients, known, messages = gradients + computed, known + not_computed, messages + sent
    executor.cancel()
    each_s = _gradient_s(scenario, executor) if gradients else 0.0
    return Estimate(
        gradients, known, gradients * each_s / executor.width, messages * _BYTES_PER_MESSAGE
    )


def _expect(simulation: Simulation, memo: Memo) -> tuple[int, int, int]:
    """Return gradients to compute, gradients known and messages, at most."""
    stop, batch = simulation.scenario.stop, simulation.scenario.task.batch_size
    sampled = samples = progress = 0
    first_unknown = None
    while simulation.versions or simulation.advance():
        version = simulation.versions.popleft()
        progress, samples = version.progress, simulation.samples(version.progress)
        found = memo.get(version.recipe.key) if first_unknown is None else None
        if found is not None and stop.loss is not None and found["loss"] <= stop.loss:
            return 0, samples // batch, version.num_messages
        if found is None:
            first_unknown = version
            sampled += 1
            if sampled > _SAMPLED_VERSIONS:
                break
    if first_unknown is None:
        return 0, samples // batch, len(simulation.world.messages)
    # Shares of the budgets that are used up; the first to be used up ends the run.
    now_ns = max(1, simulation.clock.now_ns)
    used = [
        now_ns / stop.virtual_time if stop.virtual_time else 0,
        samples / stop.samples if stop.samples else 0,
        progress / stop.updates if stop.updates else 0,
    ]
    whole = max(1.0, 1 / max(*used, 1e-9)) if simulation.ended_by is None else 1.0
    return round(samples / batch * whole), 0, round(len(simulation.world.messages) * whole)


def _gradient_s(scenario: Scenario, executor: Executor) -> float:
    """Measure one gradient where it will run; the first warms up."""
    bench = Bench(
        scenario.task,
        scenario.seeds[0],
        scenario.cluster.nodes,
        executor.device,
        fingerprint_text(executor),
    )
    training = Training(Graph(), bench, scenario.task.optimizer, layout=scenario.layout)
    initial, _ = training.initial(0)
    begun_s = 0.0
    for step in range(2):
        begun_s = time.perf_counter()
        executor.start(training.gradient(initial, 0, step)).result()
    return time.perf_counter() - begun_s
