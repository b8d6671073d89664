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
import torch

import simbench
from simbench.devices import group_facts
from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.records import TABLES, Evaluation, RunFolder
from simbench.scenario import Scenario
from simbench.scenario_file import dump
from simbench.simulation import Outcome, simulate
from simbench.spec import Packing


@dataclass(frozen=True)
class Progress:
    """Where a run is, told after each evaluation."""

    runs_done: int
    """Strategies and seeds that have ended."""
    num_runs: int
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
    begun_s = time.perf_counter()
    before = executor.operations_run.copy()
    outcomes: list[Outcome] = []
    num_runs = len(scenario.strategies) * len(scenario.seeds)
    known: Counter[str] = Counter()

    def told(evaluation: Evaluation) -> None:
        ran = executor.operations_run - before
        progress(Progress(len(outcomes), num_runs, evaluation, ran, known))

    for strategy in scenario.strategies:
        for seed in scenario.seeds:
            outcomes.append(simulate(scenario, strategy, seed, executor, memo, told))
            known += outcomes[-1].known
    summary = {
        "scenario": scenario.name,
        "workers": scenario.cluster.nodes,
        "samples_per_step": scenario.task.batch_size,
        "target_loss": scenario.stop.loss,
        "budget_ns": scenario.stop.virtual_time,
        "runs": [outcome.summary for outcome in outcomes],
    }
    if scenario.group is not None:
        summary["group"] = group_facts(scenario.group, scenario.cluster, scenario.task)
    provenance = {
        "run_id": scenario.run_id,
        "simbench": simbench.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "data_sha256": scenario.task.data.content or None,
        "fingerprint": executor.fingerprint,
        "executor": executor.description,
        "cores": os.cpu_count(),
        "startup_s": round(startup_s, 3),
        "wall_s": round(time.perf_counter() - begun_s, 3),
        "clock_s": round(sum(outcome.clock_s for outcome in outcomes), 3),
        "operations": {
            "run": dict(sorted((executor.operations_run - before).items())),
            "known": dict(sorted(known.items())),
        },
    }
    rows = {name: [row for each in outcomes for row in getattr(each, name)] for name in TABLES}
    packing = Packing()
    folder.write(dump(scenario, packing), rows, summary, provenance, packing.files)
    return folder


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
