"""The points of a sweep side by side: when each strategy reached the target, and who was first.

Only ``summary.json`` is read: the records of every moment of many points would take long.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simbench.records import RunFolder
from simbench.report.outcomes import Attempt, Outcome
from simbench.report.quantities import show_time


@dataclass(frozen=True)
class AtPoint:
    """What the strategies achieved at one point."""

    labels: Mapping[str, str]
    target: float | None
    results: tuple[Outcome, ...]
    """In the order of the scenario; without shares of time and staleness."""

    @property
    def name(self) -> str:
        """What to call it."""
        return name_of(self.labels)

    @property
    def ranked(self) -> list[Outcome]:
        """Who reached the target in most of its seeds, the first one first."""
        reached = (each for each in self.results if math.isfinite(each.time_ns))
        return sorted(reached, key=lambda each: each.time_ns)

    @property
    def first(self) -> tuple[str, ...]:
        """Who is first: several where they arrive at once, none where nobody does."""
        ranked = self.ranked
        return tuple(each.name for each in ranked if each.time_ns == ranked[0].time_ns)

    @property
    def is_missed(self) -> bool:
        """Whether nobody reached the target in any seed."""
        return not any(each.reached for each in self.results)


def at_points(run: RunFolder) -> list[AtPoint]:
    """Return every point of a sweep, in the order of the scenario."""
    summary = run.summary
    runs: dict[str, dict[str, list[Attempt]]] = {}
    for entry in summary["runs"]:
        strategies = runs.setdefault(name_of(entry["point"]), {})
        strategies.setdefault(entry["strategy"], []).append(_attempt(entry))
    return [
        AtPoint(
            point["labels"],
            point["target_loss"],
            tuple(
                Outcome(
                    name,
                    tuple(attempts),
                    mean_staleness_updates=math.nan,
                    computing=math.nan,
                    communicating=math.nan,
                    waiting=math.nan,
                    down=math.nan,
                )
                for name, attempts in runs[name_of(point["labels"])].items()
            ),
        )
        for point in summary["sweep"]["points"]
    ]


def name_of(labels: Mapping[str, str]) -> str:
    """Return what to call a point."""
    return ", ".join(labels.values())


def short_ns(outcome: Outcome) -> int:
    """Return within what a strategy did not reach the target, in at least one of its seeds."""
    ends: list[int] = [a.summary["end_ns"] for a in outcome.attempts if not a.reached]
    return max(ends)


def not_within(outcome: Outcome) -> str:
    """Return that in words."""
    return f"not reached within {show_time(short_ns(outcome))}"


def some(outcome: Outcome) -> str:
    """Return how many seeds reached the target, where it isn't all or none."""
    seeds = len(outcome.attempts)
    return (
        f" (reached by {outcome.reached} of {seeds} seeds)" if 0 < outcome.reached < seeds else ""
    )


def numeric_axes(run: RunFolder) -> list[dict[str, Any]]:
    """Return the axes along which something is drawn: those of at least two numbers."""
    return [axis for axis in run.axes if axis["numbers"] and len(axis["numbers"]) > 1]


def _attempt(entry: Mapping[str, Any]) -> Attempt:
    reached = entry["time_to_target_ns"] is not None
    return Attempt(
        entry["seed"],
        entry["time_to_target_ns"] if reached else math.inf,
        entry["samples"] if reached else math.inf,
        entry["payload_bytes"] if reached else math.inf,
        entry,
    )
