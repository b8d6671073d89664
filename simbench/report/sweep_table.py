"""The page of a sweep in words and numbers: every strategy's time to target at every point."""

import math
from typing import Any

from simbench.records import RunFolder
from simbench.report.outcomes import Outcome
from simbench.report.points import AtPoint, at_points, not_within, some
from simbench.report.quantities import join, show_target, show_time
from simbench.report.words import meanings_of_a_sweep

_MOST_COLUMNS = 6
_READING = (
    "Medians over seeds of the virtual time to the target; 'first' stands at the strategy that is "
    "there first at that point. Where only some seeds reached it, their number is told."
)


def sweep_facts(run: RunFolder) -> dict[str, Any]:
    """Return what the page of a sweep says, ready to be read."""
    summary, points = run.summary, at_points(run)
    axes = [f"{len(axis['labels'])} of {axis['name']}" for axis in run.axes]
    seeds = list(dict.fromkeys(str(entry["seed"]) for entry in summary["runs"]))
    targets = list(dict.fromkeys(show_target(p.target) for p in points if p.target is not None))
    budgets = [point["budget_ns"] for point in summary["sweep"]["points"]]
    within = list(dict.fromkeys(show_time(each) for each in budgets if each is not None))
    setting = [
        f"{len(points)} points ({' x '.join(axes)})",
        f"{len(points[0].results)} strategies",
        f"seed{'s' if len(seeds) > 1 else ''} {join(seeds)}",
        f"target loss {join(targets)}" if targets else "no target loss",
        f"budget {join(within)} of virtual time" if within else "no time budget",
    ]
    return {
        "scenario": summary["scenario"],
        "setting": " · ".join(setting),
        "heading": "Time to target",
        "table": sweep_rows(points),
        "reading": _READING,
        "meanings": meanings_of_a_sweep(run),
    }


def sweep_rows(points: list[AtPoint]) -> list[tuple[str, ...]]:
    """Return a row per strategy and a column per point; of many points, a row for each."""
    names = [each.name for each in points[0].results]
    columns = [[_cell(point, each) for each in point.results] for point in points]
    table = [("strategy", *(point.name for point in points)), *zip(names, *columns, strict=True)]
    if len(points) <= _MOST_COLUMNS:
        return table
    turned = list(zip(*table, strict=True))
    return [("point", *turned[0][1:]), *turned[1:]]


def _cell(point: AtPoint, outcome: Outcome) -> str:
    if point.target is None:
        return "no target"
    if not math.isfinite(outcome.time_ns):
        return not_within(outcome) + some(outcome)
    first = ", first" if outcome.name in point.first else ""
    return show_time(outcome.time_ns) + some(outcome) + first
