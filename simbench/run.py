"""A whole run: every strategy and seed of a scenario, written as one folder."""

import os
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

import simbench
from simbench.devices import group_facts
from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.execution.memory import peak_resident_bytes
from simbench.records import TABLES, Evaluation, RunFolder, arrow
from simbench.report.pricing import in_words
from simbench.scenario import Scenario
from simbench.scenario_file import dump
from simbench.search import candidates, choose
from simbench.simulation import Outcome, simulate
from simbench.spec import Packing


@dataclass(frozen=True)
class Progress:
    """Where a run is, told after each evaluation."""

    runs_done: int
    """Trials of a search, and strategies and seeds at each point, that have ended."""
    num_runs: int
    point: str
    """What is under way: the point of a sweep, or a trial of the search; empty without either."""
    evaluation: Evaluation
    operations_run: Counter[str]
    operations_known: Counter[str]


def run_folder(scenario: Scenario, results: Path) -> RunFolder:
    """Return the folder of what ``scenario`` asks: the same question has the same place."""
    return RunFolder(results / scenario.name / scenario.run_id)


def run(
    scenario: Scenario,
    executor: Executor,
    memo: Memo,
    folder: RunFolder,
    *,
    startup_s: float = 0.0,
    progress: Callable[[Progress], None] = lambda _: None,
) -> RunFolder:
    """Run ``scenario`` on ``executor`` and write ``folder``, whole or not at all.

    Args:
        scenario: what to run.
        executor: who computes.
        memo: the losses that are known; it gets those that aren't.
        folder: where the records go.
        startup_s: what it took to start the executor, for the provenance.
        progress: called after each evaluation.
    """
    begun_s, run_id = time.perf_counter(), scenario.run_id
    before, calls_before = executor.operations_run.copy(), executor.calls_run.copy()
    tasks = [*candidates(scenario)]
    num_runs = len(tasks) + len(scenario.points) * len(scenario.strategies) * len(scenario.seeds)
    runs_done, clock_s = 0, 0.0
    known: Counter[str] = Counter()

    def play(played: Scenario, strategy: str, seed: int, point: str) -> Outcome:
        nonlocal runs_done, clock_s

        def told(evaluation: Evaluation) -> None:
            ran = executor.operations_run - before
            progress(Progress(runs_done, num_runs, point, evaluation, ran, known))

        outcome = simulate(played, strategy, seed, executor, memo, told)
        runs_done, clock_s = runs_done + 1, clock_s + outcome.clock_s
        known.update(outcome.known)
        return outcome

    trials = [
        (each, play(each.scenario, each.strategy, each.seed, f"search, {each.text}"))
        for each in tasks
    ]
    found = choose(scenario, [(each, outcome.summary) for each, outcome in trials])
    scenario = found.scenario
    runs: list[dict[str, Any]] = []
    columns: dict[str, list[pa.Table]] = {name: [] for name in TABLES if name != "tuning"}
    for point in scenario.points:
        for strategy in scenario.strategies:
            for seed in scenario.seeds:
                outcome = play(point.scenario, strategy, seed, point.name)
                runs.append(({"point": point.labels} if point.labels else {}) | outcome.summary)
                # As columns the rows of many points fit into memory.
                for name, tables in columns.items():
                    tables.append(arrow(name, getattr(outcome, name), point.labels))
    summary = {
        "scenario": scenario.name,
        **_facts(scenario.points[0].scenario),
        **(_sweep(scenario) if scenario.sweep else {}),
        **({"tuning": found.summary} if scenario.tune else {}),
        **_arithmetic(scenario),
        "runs": runs,
    }
    if scenario.group is not None:
        summary["group"] = group_facts(scenario.group, scenario.cluster, scenario.task)
    provenance = {
        "run_id": run_id,
        "simbench": simbench.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "data_sha256": scenario.points[0].scenario.task.data.content or None,
        "fingerprint": executor.fingerprint,
        "executor": executor.description,
        "cores": os.cpu_count(),
        "startup_s": round(startup_s, 3),
        "wall_s": round(time.perf_counter() - begun_s, 3),
        "clock_s": round(clock_s, 3),
        "peak_memory_bytes": {
            "driver": peak_resident_bytes(),
            "actors": executor.peak_memory_bytes,
        },
        "operations": {
            "run": _sorted(executor.operations_run - before),
            "known": _sorted(known),
            # In how many calls the operations ran, where that may be fewer.
            **({"calls": _sorted(executor.calls_run - calls_before)} if scenario.vectorise else {}),
        },
    }
    if pricing := scenario.points[0].scenario.task.pricing_facts:
        provenance["priced_as"] = in_words(pricing)
    rows = {name: pa.concat_tables(tables).combine_chunks() for name, tables in columns.items()}
    rows["tuning"] = arrow("tuning", found.rows, {})
    packing = Packing()
    folder.write(dump(scenario, packing), rows, summary, provenance, packing.files)
    return folder


def _facts(scenario: Scenario) -> dict[str, Any]:
    """Return what a report says of one point."""
    return {
        "workers": scenario.cluster.nodes,
        "samples_per_step": scenario.task.samples_per_step,
        "target_loss": scenario.stop.loss,
        "budget_ns": scenario.stop.virtual_time,
        **({"priced_as": facts} if (facts := scenario.task.pricing_facts) else {}),
    }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _arithmetic(scenario: Scenario) -> dict[str, Any]:
    """Return what gives other last bits than a plain run has; nothing for such a run."""
    told = {
        "vectorised": scenario.vectorise,
        "compiled": any(point.scenario.task.compile for point in scenario.points),
        "not_deterministic": not scenario.deterministic,
    }
    found = [name for name, holds in told.items() if holds]
    return {"arithmetic": found} if found else {}


def _sweep(scenario: Scenario) -> dict[str, Any]:
    axes = [
        {"name": axis.name, "labels": [*axis.alternatives], "numbers": axis.numbers}
        for axis in scenario.sweep
    ]
    points = [{"labels": each.labels, **_facts(each.scenario)} for each in scenario.points]
    return {"sweep": {"axes": axes, "points": points}}


def differing_tables(one: RunFolder, other: RunFolder) -> list[str]:
    """Return the names of what "the same records" covers that isn't the same in both folders."""
    differing = [name for name in TABLES if not one.table(name).equals(other.table(name))]
    if one.summary != other.summary:
        differing.append("summary")
    if one.scenario_yaml != other.scenario_yaml:
        differing.append("scenario")
    return differing


def _commit() -> str | None:
    """Return the commit of the source, if it lies in a git checkout."""
    source = Path(__file__).parent
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return None
    return done.stdout.strip() or None


def summarise_operations(provenance: dict[str, Any]) -> str:
    """Return how many operations ran and how many were known, for people."""
    counts = provenance["operations"]
    ran, known = (counts[which].get("gradient", 0) for which in ("run", "known"))
    evaluated, not_evaluated = (counts[which].get("evaluation", 0) for which in ("run", "known"))
    return (
        f"{ran:,} gradients computed, {known:,} known; {evaluated:,} evaluations computed, "
        f"{not_evaluated:,} known; {provenance['wall_s']:.0f} s"
    )
