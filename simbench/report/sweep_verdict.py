"""The verdict on a sweep in words: who is first where, and which axes change that."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from simbench.records import RunFolder
from simbench.report.outcomes import Outcome
from simbench.report.points import AtPoint, at_points, name_of, short_ns, some
from simbench.report.quantities import digits, join, show_target, show_time
from simbench.report.reasons import factor
from simbench.report.shortfalls import stuck

_MOST_TOLD = 6
"""Points up to this number are told one by one, more of them counted."""
_MOST_COURSES = 2
NOBODY = "no strategy"


def sweep_verdict(run: RunFolder) -> list[str]:
    """Return who is first where, what changes the answer, the points, and who does not arrive."""
    points = at_points(run)
    if all(point.target is None for point in points):
        return ["The scenario sets no target loss, so no strategy is first at any point."]
    lines = [_first(run.axes, points), *_changes(run.axes, points)]
    if len(points) <= _MOST_TOLD:
        # Where only some seeds arrive, what is missing tells it all.
        lines += [_told(point) for point in points if point.ranked or point.is_missed]
    missing = _missing(points)
    halted = [f"At {p.name}: {line}" for p in points for line in stuck(p.results)]
    return [*lines, *missing, *halted[:_MOST_TOLD]]


def winner(point: AtPoint) -> str:
    """Return who is first at a point, in words."""
    return join(list(point.first)) or NOBODY


def _first(axes: Sequence[dict[str, Any]], points: Sequence[AtPoint]) -> str:
    targets = dict.fromkeys(show_target(p.target) for p in points if p.target is not None)
    loss = f"loss {join(list(targets))}" if len(targets) == 1 else "the target loss"
    winners = dict.fromkeys(winner(point) for point in points)
    if len(winners) == 1:
        (name,) = winners
        if name == NOBODY:
            return f"No strategy reaches {loss} at any of the {len(points)} points."
        return f"{name} reaches {loss} first at each of the {len(points)} points."
    varied = [axis for axis in axes if len(axis["labels"]) > 1]
    if len(varied) == 1:
        course = _course(varied[0], [winner(point) for point in points])
        return f"Who reaches {loss} first depends on {varied[0]['name']}: {course}."
    parts = [
        f"{name} {_places([p.name for p in points if winner(p) == name], points)}"
        for name in winners
    ]
    return f"Who reaches {loss} first depends: {join(parts)}."


def _places(names: Sequence[str], points: Sequence[AtPoint]) -> str:
    if len(points) <= _MOST_TOLD:
        return f"at {join(list(names))}"
    return f"at {len(names)} of {len(points)} points"


def _changes(axes: Sequence[dict[str, Any]], points: Sequence[AtPoint]) -> list[str]:
    """Return which of several axes change who is first, and where along them."""
    varied = [axis for axis in axes if len(axis["labels"]) > 1]
    by_labels = {name_of(point.labels): winner(point) for point in points}
    level, parts = [], []
    for axis in varied if len(varied) > 1 else []:
        courses = _courses(axis, axes, by_labels)
        split = {rest: names for rest, names in courses.items() if len(set(names)) > 1}
        for rest, names in list(split.items())[:_MOST_COURSES]:
            parts.append(f"along {axis['name']} (at {rest}) {_course(axis, names)}")
        if len(split) > _MOST_COURSES:
            more = len(split) - _MOST_COURSES
            parts[-1] += f"; so it does at {more} other {'place' if more == 1 else 'places'}"
        if not split:
            level.append(axis["name"])
    lines = [f"What changes the answer: {'; '.join(parts)}."] if parts else []
    if level and len(level) < len(varied):
        lines.append(f"No difference to who is first: {join(level)}.")
    return lines


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
    if len(points) > _MOST_TOLD:
        names = [outcome.name for outcome in points[0].results]
        short = {name: sum(_is_short(p, name) for p in points) for name in names}
        counts = [f"{name} at {count} of {len(points)}" for name, count in short.items() if count]
        return [f"Not reached in every seed: {join(counts)} points."] if counts else []
    lines = []
    for point in points:
        if point.is_missed:
            continue  # it was told that nobody arrives there
        within: dict[str, list[str]] = {}
        for outcome in point.results:
            if outcome.reached < len(outcome.attempts):
                within.setdefault(show_time(short_ns(outcome)), []).append(
                    outcome.name + some(outcome)
                )
        told = [f"within {end}: {join(names)}" for end, names in within.items()]
        lines += [f"{point.name}: not reached {'; '.join(told)}."] if told else []
    return lines


def _is_short(point: AtPoint, name: str) -> bool:
    return any(o.name == name and o.reached < len(o.attempts) for o in point.results)
