"""The verdict on a sweep in words: who is first where, and which axes change that."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from simbench.records import RunFolder
from simbench.report.outcomes import Outcome
from simbench.report.points import AtPoint, at_points, name_of, not_within
from simbench.report.quantities import digits, join, show_loss, show_time
from simbench.report.reasons import factor
from simbench.report.shortfalls import stuck

_MOST_TOLD = 6
"""Points up to this number are told one by one, more of them counted."""
_MOST_COURSES = 3
NOBODY = "no strategy"


def sweep_verdict(run: RunFolder) -> list[str]:
    """Return who is first where, what changes the answer, the points, and who does not arrive."""
    points = at_points(run)
    if all(point.target is None for point in points):
        return ["The scenario sets no target loss, so no strategy is first at any point."]
    lines = [_first(points), _changes(run.axes, points)]
    if len(points) <= _MOST_TOLD:
        lines += [_told(point) for point in points]
    missing = _missing(points)
    halted = [f"At {p.name}: {line}" for p in points for line in stuck(p.results)]
    return [*lines, *([" ".join(missing)] if missing else []), *halted[:_MOST_TOLD]]


def winner(point: AtPoint) -> str:
    """Return who is first at a point, in words."""
    return join(list(point.first)) or NOBODY


def _first(points: Sequence[AtPoint]) -> str:
    targets = dict.fromkeys(show_loss(p.target) for p in points if p.target is not None)
    loss = f"loss {join(list(targets))}" if len(targets) == 1 else "the target loss"
    where: dict[str, list[str]] = {}
    for point in points:
        where.setdefault(winner(point), []).append(point.name)
    nobody = where.pop(NOBODY, [])
    if not where:
        return f"No strategy reaches {loss} at any of the {len(points)} points."
    if len(where) == 1:
        (name,) = where
        text = "each" if not nobody else f"{len(points) - len(nobody)}"
        return f"{name} reaches {loss} first at {text} of the {len(points)} points."
    parts = [f"{name} {_places(places, points)}" for name, places in where.items()]
    if nobody:
        parts.append(f"nobody {_places(nobody, points)}")
    return f"Who reaches {loss} first depends: {join(parts)}."


def _places(names: Sequence[str], points: Sequence[AtPoint]) -> str:
    if len(points) <= _MOST_TOLD:
        return f"at {join(list(names))}"
    return f"at {len(names)} of {len(points)} points"


def _changes(axes: Sequence[dict[str, Any]], points: Sequence[AtPoint]) -> str:
    """Return which axes change who is first, and where along them."""
    by_labels = {name_of(point.labels): winner(point) for point in points}
    changing, level, parts = [], [], []
    for axis in axes:
        if len(axis["labels"]) < 2:
            continue
        courses = _courses(axis, axes, by_labels)
        split = {rest: names for rest, names in courses.items() if len(set(names)) > 1}
        if not split:
            level.append(axis["name"])
            continue
        changing.append(axis["name"])
        for rest, names in list(split.items())[:_MOST_COURSES]:
            place = f" ({rest})" if rest else ""
            parts.append(f"along {axis['name']}{place} {_course(axis, names)}")
        if len(split) > _MOST_COURSES:
            parts.append(f"and {len(split) - _MOST_COURSES} more along {axis['name']}")
    text = f"What changes the answer: {'; '.join(parts)}." if changing else ""
    if level:
        alone = (
            f"{join(level)} {'change' if len(level) > 1 else 'changes'} nothing about who is first."
        )
        text += f" {alone[0].upper()}{alone[1:]}" if not text else f" {alone}"
    return text.strip() or "There is one point alone: nothing varies."


def _courses(
    axis: dict[str, Any], axes: Sequence[dict[str, Any]], by_labels: dict[str, str]
) -> dict[str, list[str]]:
    """Return who is first along one axis, for each choice of the others."""
    others = [each for each in axes if each is not axis]
    courses = {}
    for choice in itertools.product(*(each["labels"] for each in others)):
        fixed = {each["name"]: label for each, label in zip(others, choice, strict=True)}
        along = []
        for label in axis["labels"]:
            labels = {each["name"]: fixed.get(each["name"], label) for each in axes}
            along.append(by_labels[name_of(labels)])
        courses[name_of(fixed)] = along
    return courses


def _course(axis: dict[str, Any], names: Sequence[str]) -> str:
    """Return who is first where along one axis: from what on, if it is one of numbers."""
    labels = axis["labels"]
    if axis["numbers"]:
        order = sorted(range(len(labels)), key=lambda place: axis["numbers"][place])
        runs = [
            (name, [labels[place] for place in group])
            for name, group in itertools.groupby(order, key=lambda place: names[place])
        ]
        first, *later = runs
        return ", ".join(
            [f"{first[0]} up to {first[1][-1]}", *(f"{n} from {at[0]} on" for n, at in later)]
        )
    where: dict[str, list[str]] = {}
    for label, name in zip(labels, names, strict=True):
        where.setdefault(name, []).append(label)
    return ", ".join(f"{name} on {join(places)}" for name, places in where.items())


def _told(point: AtPoint) -> str:
    """Return the answer at one point."""
    ranked = point.ranked
    if not ranked:
        ends = max((a.summary["end_ns"] for o in point.results for a in o.attempts), default=0)
        return f"{point.name}: no strategy reaches it within {show_time(ends)}."
    best = ranked[0]
    behind = [each for each in ranked if each.time_ns > best.time_ns]
    text = f"{point.name}: {winner(point)} after {show_time(best.time_ns)}"
    return f"{text}, {_ahead(best, behind[0])}." if behind else f"{text}."


def _ahead(best: Outcome, other: Outcome) -> str:
    ratio = other.time_ns / best.time_ns if best.time_ns else math.inf
    if ratio < 1.02:
        return f"only {digits(100 * (ratio - 1))} % ahead of {other.name}"
    return f"{factor(ratio)} times as fast as {other.name} ({show_time(other.time_ns)})"


def _missing(points: Sequence[AtPoint]) -> list[str]:
    """Return who does not reach the target where."""
    lines = []
    for name in [each.name for each in points[0].results]:
        short = [
            (point, outcome)
            for point in points
            for outcome in point.results
            if outcome.name == name and outcome.reached < len(outcome.attempts)
        ]
        if not short:
            continue
        if len(points) > _MOST_TOLD:
            lines.append(f"{name} does not reach it in all seeds at {len(short)} points.")
            continue
        places = [
            f"{point.name} ({not_within(o)}{'' if not o.reached else _some(o)})"
            for point, o in short
        ]
        lines.append(f"{name} does not reach it at {join(places)}.")
    return lines


def _some(outcome: Outcome) -> str:
    seeds = len(outcome.attempts)
    return f" in {seeds - outcome.reached} of {seeds} seeds"
