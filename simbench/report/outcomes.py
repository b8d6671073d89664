"""What each strategy achieved, over its seeds: the numbers behind the verdict and the table.

Everything is a measured column. A seed that didn't reach the target counts as infinitely late, so
a median over seeds is infinite where half of them or more failed, and no failure is dropped.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from simbench.records import RunFolder

COMMUNICATING = ("send", "receive", "send+receive")


@dataclass(frozen=True)
class Attempt:
    """One strategy on one seed."""

    seed: int
    time_ns: float
    """Virtual time of the first evaluation at or below the target; infinite where there is none."""
    samples: float
    payload_bytes: float
    summary: Mapping[str, Any]
    """This run's entry of ``summary.json``."""

    @property
    def reached(self) -> bool:
        """Whether the target was reached."""
        return math.isfinite(self.time_ns)


@dataclass(frozen=True)
class Outcome:
    """One strategy over all its seeds."""

    name: str
    attempts: tuple[Attempt, ...]
    mean_staleness_updates: float
    """Over the updates of all seeds; nan where there were none."""
    computing: float
    """Share of the workers' time; with those that follow, one together."""
    communicating: float
    waiting: float
    down: float

    @property
    def reached(self) -> int:
        """How many seeds reached the target."""
        return sum(attempt.reached for attempt in self.attempts)

    @property
    def time_ns(self) -> float:
        """Median time to target over seeds; infinite where half of them or more failed."""
        return statistics.median(attempt.time_ns for attempt in self.attempts)

    @property
    def samples(self) -> float:
        """Median samples to target over seeds, of all nodes together."""
        return statistics.median(attempt.samples for attempt in self.attempts)

    @property
    def payload_bytes(self) -> float:
        """Median payload to target over seeds, of all nodes together."""
        return statistics.median(attempt.payload_bytes for attempt in self.attempts)

    @property
    def samples_per_second(self) -> float:
        """Samples to target over time to target; over the whole runs where that isn't finite.

        A ratio of the two medians, so that time = samples / (samples per second) is exact.
        """
        if math.isfinite(self.time_ns):
            samples, time_ns = self.samples, self.time_ns
        else:
            samples = float(sum(attempt.summary["samples"] for attempt in self.attempts))
            time_ns = float(sum(attempt.summary["end_ns"] for attempt in self.attempts))
        return samples / time_ns * 1e9 if time_ns else math.nan

    @property
    def final_loss(self) -> float:
        """Median over seeds of the last evaluation; infinite where that isn't a number."""
        return statistics.median(_loss(a.summary["final_loss"]) for a in self.attempts)

    def final(self, what: str) -> float | None:
        """Return the median over seeds of the ``accuracy`` or ``perplexity`` at the end.

        None where it isn't told of every seed.
        """
        ends = [attempt.summary.get(f"final_{what}") for attempt in self.attempts]
        told = [end for end in ends if end is not None]
        return statistics.median(told) if len(told) == len(ends) else None

    @property
    def end_ns(self) -> float:
        """Median over seeds of the virtual time at which the run ended."""
        return float(statistics.median(attempt.summary["end_ns"] for attempt in self.attempts))

    @property
    def machines(self) -> int:
        """Machines that it took, a server of its own counted."""
        return int(self.attempts[0].summary["machines"])


def outcomes(run: RunFolder) -> list[Outcome]:
    """Return what each strategy achieved, in the order of the scenario."""
    summary = run.summary
    reached = _first_at_target(run.table("evaluations"), summary["target_loss"])
    staleness = run.table("updates").groupby("strategy")["staleness_updates"].mean()
    spans = run.table("spans")
    spans = spans[spans["node"] < summary["workers"]]
    spent = (spans["end_ns"] - spans["start_ns"]).groupby([spans["strategy"], spans["activity"]])
    shares = _shares({key: float(total) for key, total in spent.sum().items()})
    attempts: dict[str, list[Attempt]] = {}
    for entry in summary["runs"]:
        time_ns, samples, payload = reached.get(
            (entry["strategy"], entry["seed"]), (math.inf, math.inf, math.inf)
        )
        attempts.setdefault(entry["strategy"], []).append(
            Attempt(entry["seed"], time_ns, samples, payload, entry)
        )
    return [
        Outcome(
            name,
            tuple(entries),
            float(staleness.get(name, math.nan)),
            shares.get((name, "compute"), math.nan),
            sum(shares.get((name, activity), math.nan) for activity in COMMUNICATING),
            shares.get((name, "wait"), math.nan),
            shares.get((name, "down"), math.nan),
        )
        for name, entries in attempts.items()
    ]


def _first_at_target(
    evaluations: pd.DataFrame, target: float | None
) -> dict[tuple[str, int], tuple[float, float, float]]:
    """Return (time, samples, payload) of the first evaluation at or below the target."""
    if target is None:
        return {}
    good = evaluations[evaluations["loss"] <= target].sort_values(["time_ns", "progress"])
    first = good.drop_duplicates(["strategy", "seed"])
    return {
        (row.strategy, row.seed): (row.time_ns, row.samples, row.payload_bytes)  # type: ignore[misc]
        for row in first.itertuples()
    }


def _shares(spent: Mapping[Any, float]) -> dict[tuple[str, str], float]:
    """Return the share of each (strategy, activity) in its strategy's time."""
    totals: dict[str, float] = {}
    for (name, _), total in spent.items():
        totals[name] = totals.get(name, 0.0) + total
    activities = ("compute", "wait", "down", *COMMUNICATING)
    return {
        (name, activity): spent.get((name, activity), 0.0) / total
        for name, total in totals.items()
        if total
        for activity in activities
    }


def _loss(value: float | None) -> float:
    """Return a loss; one that is no number any more is infinite, so that medians are defined."""
    return math.inf if value is None or math.isnan(value) else float(value)
