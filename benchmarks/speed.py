"""Speed of the quickstart, as ratios measured side by side in one run.

    python benchmarks/speed.py                    # everything
    python benchmarks/speed.py in-process         # one claim: clock, in-process, ray or second-run
    python benchmarks/speed.py in-process --model "1 ms"       # a smaller one than the quickstart's
    python benchmarks/speed.py in-process --model "20 ms"
    python benchmarks/speed.py ray --model "0.9 M" --virtual-time "12 s"

Every comparison starts with an empty memo on both sides and prints how many operations really ran.
Rounds alternate between the two sides, and the median ratio is quoted, since machines are noisy.
The quickstart takes 50 to 90 s of virtual time; in much shorter runs, beginning and end weigh more.
"""

import statistics
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from plain_pytorch import Course, repeat, repeat_in_processes

from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor
from simbench.execution.threads import ThreadExecutor, num_cores
from simbench.ray_cluster.executor import RayExecutor
from simbench.scenario import Scenario
from simbench.scenario_file import load
from simbench.simulation import Outcome, simulate

QUICKSTART = Path(__file__).parent.parent / "scenarios" / "quickstart.yaml"


class Size(StrEnum):
    """Models, by what a gradient of theirs takes on one core, or how large they are."""

    quickstart = "quickstart"
    one_ms = "1 ms"
    twenty_ms = "20 ms"
    million = "0.9 M"


GPTS = {
    Size.one_ms: "{kind: gpt, layers: 1, width: 32, heads: 2, context: 32}",
    Size.twenty_ms: "{kind: gpt, layers: 3, width: 128, heads: 4, context: 64}",
    Size.million: "{kind: gpt, layers: 4, width: 128, heads: 4, context: 128}",
}

MOST_IN_PROCESS = {Size.one_ms: 1.25, Size.twenty_ms: 1.05}
"""What training in process may take of what bare PyTorch does; else 1.1."""

LEAST_ON_RAY = {Size.million: 1.8}
"""How many times as fast Ray must be on 2 cores as a loop on one; else 1.7."""


class Claim(StrEnum):
    """What can be measured."""

    everything = "all"
    clock = "clock"
    in_process = "in-process"
    ray = "ray"
    second_run = "second-run"


def main(
    claim: Annotated[Claim, typer.Argument()] = Claim.everything,
    rounds: Annotated[int, typer.Option(help="Pairs of runs for each ratio.")] = 3,
    virtual_time: Annotated[str, typer.Option(help="Budget of each run.")] = "40 s",
    model: Annotated[Size, typer.Option(help="Another one than the quickstart's.")] = (
        Size.quickstart
    ),
) -> None:
    """Measure and print the claims."""
    settings = [f"stop.virtual_time={virtual_time}", "seeds=[0]"]
    if model in GPTS:
        # Steps take as long on the clock as the quickstart's, so runs have as many gradients.
        machine = "{kind: fixed, step_time: 100 ms, jitter: {kind: lognormal, sigma: 0.2}}"
        settings += [f"task.model={GPTS[model]}", f"cluster.machine={machine}"]
    scenario = load(QUICKSTART, settings)
    wanted = [each for each in Claim if claim in (Claim.everything, each)]
    if Claim.clock in wanted or Claim.in_process in wanted:
        in_process(scenario, rounds, MOST_IN_PROCESS.get(model, 1.1))
    if Claim.ray in wanted:
        on_ray(scenario, rounds, LEAST_ON_RAY.get(model, 1.7))
    if Claim.second_run in wanted:
        second_run(scenario)


def in_process(scenario: Scenario, rounds: int, most: float) -> None:
    """The clock's share, and the whole run against bare PyTorch on as many cores."""
    cores = num_cores()
    begun_s = time.perf_counter()
    executor = ProcessExecutor(scenario.cluster.nodes, cores)
    print(f"  start-up of {executor.description}: {time.perf_counter() - begun_s:.1f} s")
    simulate(shortened(scenario), next(iter(scenario.strategies)), 0, executor, Memo(None))
    shares, ratios = [], []
    for _ in range(rounds):
        ours_s = clock_s = threads_s = processes_s = 0.0
        courses = []
        # Strategy by strategy, so that what is compared is done within seconds of each other.
        for strategy in scenario.strategies:
            taken_s, outcome, course = timed(scenario, strategy, executor)
            ours_s += taken_s
            clock_s += outcome.clock_s
            threads_s += repeat(course, cores)
            processes_s += repeat_in_processes(course, cores)
            courses.append(course)
        shares.append(clock_s / (ours_s * cores))
        ratios.append(ours_s / min(threads_s, processes_s))
        each_ms = 1000 * processes_s * cores / total(courses)
        print(
            f"  {total(courses):,} gradients of {each_ms:.1f} ms: simbench {ours_s:.2f} s "
            f"(clock {clock_s:.2f} s), "
            f"one loop with {cores} threads {threads_s:.2f} s, "
            f"{cores} single-threaded processes {processes_s:.2f} s"
        )
    executor.close()
    say("clock plane / processor time of the training", shares, "below 0.03")
    say("in process / bare PyTorch on the same cores", ratios, f"at most {most:.2f}")


def on_ray(scenario: Scenario, rounds: int, least: float) -> None:
    """Ray actors on all cores against one such loop on one core; start-up on its own."""
    begun_s = time.perf_counter()
    executor = RayExecutor(scenario.cluster.nodes)
    print(f"  start-up of {executor.description}: {time.perf_counter() - begun_s:.1f} s")
    simulate(shortened(scenario), next(iter(scenario.strategies)), 0, executor, Memo(None))
    ratios = []
    for _ in range(rounds):
        ours_s = one_core_s = 0.0
        courses = []
        for strategy in scenario.strategies:
            taken_s, _, course = timed(scenario, strategy, executor)
            ours_s += taken_s
            one_core_s += repeat(course, 1)
            courses.append(course)
        ratios.append(one_core_s / ours_s)
        print(
            f"  {total(courses):,} gradients: simbench on Ray {ours_s:.2f} s, "
            f"one loop on one core {one_core_s:.2f} s"
        )
    executor.close()
    say("one loop on one core / simbench on Ray", ratios, f"at least {least} on 2 cores")


def second_run(scenario: Scenario) -> None:
    """A second run on another bandwidth computes no gradient of synchronous strategies again."""
    memo = Memo(None)
    slower = load(QUICKSTART, ["network.bandwidth=900 Mbit/s", f"seeds={list(scenario.seeds)}"])
    slower = slower.model_copy(update={"stop": scenario.stop})
    for strategy, spec in scenario.strategies.items():
        first, second = ThreadExecutor(), ThreadExecutor()
        simulate(scenario, strategy, 0, first, memo)
        simulate(slower, strategy, 0, second, memo)
        ran = [each.operations_run["gradient"] for each in (first, second)]
        print(
            f"second run / first run, gradients computed, {strategy} (counts {spec.counts}): "
            f"{ran[1]:,} / {ran[0]:,} = {ran[1] / ran[0]:.2f}"
        )
        first.close()
        second.close()


def timed(scenario: Scenario, strategy: str, executor: Executor) -> tuple[float, Outcome, Course]:
    """Run one strategy with an empty memo; return seconds, outcome and what was computed."""
    before = executor.operations_run.copy()
    begun_s = time.perf_counter()
    outcome = simulate(scenario, strategy, 0, executor, Memo(None))
    taken_s = time.perf_counter() - begun_s
    ran = executor.operations_run - before
    course = Course(
        scenario.task,
        scenario.cluster.nodes,
        ran["gradient"],
        ran["evaluation"],
        outcome.summary["learning_rate"],
    )
    return taken_s, outcome, course


def shortened(scenario: Scenario) -> Scenario:
    """Return ``scenario`` for warming up."""
    return scenario.model_copy(update={"stop": scenario.stop.model_copy(update={"updates": 5})})


def total(courses: list[Course]) -> int:
    """Return the gradients of all courses."""
    return sum(course.gradients for course in courses)


def say(what: str, ratios: list[float], claim: str) -> None:
    """Print the median ratio."""
    low, high = min(ratios), max(ratios)
    print(f"{what}: {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f}); claim: {claim}")


if __name__ == "__main__":
    typer.run(main)
