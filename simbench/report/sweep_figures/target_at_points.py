"""Time to target at each point of a sweep: the answers side by side."""

import math
from typing import ClassVar, Literal

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simbench.records import RunFolder
from simbench.report.figure import (
    INK,
    SOFT_INK,
    WIDTH_IN,
    SweepFigure,
    empty,
    hide_unused,
    name_ticks,
)
from simbench.report.looks import Look, looks, wrapped
from simbench.report.outcomes import Outcome
from simbench.report.points import AtPoint, at_points
from simbench.report.quantities import Unit, digits, time_unit

_COLUMNS = 3
_MOST_PANELS = 9
_LOG_FROM = 20
_MOST_TICKS = 30_000
"""Largest over smallest number that a figure's whole width has room for, with 1, 2 and 5 named."""


class TargetAtPoints(SweepFigure):
    """Who is first where, and by how much."""

    kind: Literal["target_at_points"] = "target_at_points"
    title: ClassVar[str] = "Time to target at each point"
    caption: ClassVar[str] = (
        "A panel for each point, all over the same axis of virtual time. A filled marker per seed "
        "at its first evaluation at or below the target; the number is the median over seeds, bold "
        "for the first. A hollow marker with an arrow: not reached when the run ended there; where "
        "only some seeds reached it, how many. Where times differ by more than 20 times, the axis "
        f"is logarithmic. Of more than {_MOST_PANELS} points, some are shown, evenly spaced."
    )
    order: ClassVar[int] = 10

    def suits(self, run: RunFolder) -> bool:
        """Any sweep has points."""
        return bool(run.axes)

    def draw(self, run: RunFolder) -> Figure:
        """Draw a row per strategy in each panel, the first strategy of the scenario on top."""
        points = at_points(run)
        if len(points) > _MOST_PANELS:
            step = (len(points) - 1) / (_MOST_PANELS - 1)
            points = [points[round(place * step)] for place in range(_MOST_PANELS)]
        names = [each.name for each in points[0].results]
        columns = min(_COLUMNS, len(points))
        rows = math.ceil(len(points) / columns)
        height = 1.0 + rows * (0.75 + 0.36 * len(names))
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
        places = [_end(a.summary["end_ns"]) for p in points for o in p.results for a in o.attempts]
        unit = time_unit(max(places))
        if max(places) > _LOG_FROM * min(places):
            panels[0].set_xscale("log")
            room = (max(places) / min(places)) ** 0.6
            panels[0].set_xlim(min(places) / unit.size / 1.6, max(places) / unit.size * room)
            left, right = panels[0].get_xlim()
            name_ticks(panels[0].xaxis, narrow=right / left > _MOST_TICKS ** (1 / columns))
        else:
            panels[0].set_xlim(0, max(places) / unit.size * 2.0)
        panels[0].set(
            ylim=(len(names) - 0.45, -0.6),
            yticks=range(len(names)),
            yticklabels=[wrapped(name, 24) for name in names],
        )
        styles = looks(names)
        for panel, point in zip(panels, points, strict=False):
            _draw_panel(panel, point, styles, unit)
        hide_unused(panels, len(points), columns)
        figure.supxlabel(f"virtual time until the target loss ({unit.name})", fontsize=10)
        return figure


def _draw_panel(panel: Axes, point: AtPoint, styles: dict[str, Look], unit: Unit) -> None:
    panel.set_title(wrapped(point.name, 30))
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", labelcolor=INK)
    sns.despine(ax=panel, left=True)
    if point.target is None:
        empty(panel, "no target loss")
        return
    for row, outcome in enumerate(point.results):
        _draw_row(panel, row, outcome, styles[outcome.name], unit, outcome.name in point.first)


def _draw_row(
    panel: Axes, row: int, outcome: Outcome, look: Look, unit: Unit, is_first: bool
) -> None:
    panel.axhline(row, color="#e7e9ed", linewidth=1, zorder=0)
    for attempt in outcome.attempts:
        panel.plot(
            _end(attempt.summary["end_ns"]) / unit.size,
            row,
            marker=look.marker,
            markersize=8,
            color=look.colour,
            markerfacecolor=(*look.colour, 0.85) if attempt.reached else "white",
            markeredgecolor="white" if attempt.reached else look.colour,
            markeredgewidth=0.6 if attempt.reached else 1.4,
            zorder=3,
        )
    right = max(_end(attempt.summary["end_ns"]) for attempt in outcome.attempts) / unit.size
    reached = math.isfinite(outcome.time_ns)
    seeds, over = len(outcome.attempts), digits(right)
    if reached:
        text = digits(outcome.time_ns / unit.size)
        text += f" → ({outcome.reached} of {seeds})" if outcome.reached < seeds else ""
    else:
        text = f"→ {outcome.reached} of {seeds}" if outcome.reached else "→ not"
        text += f" within {over} {unit.name}"
    panel.annotate(
        text,
        (right, row),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        fontweight="bold" if is_first else "normal",
        color=INK if reached else SOFT_INK,
    )


def _end(end_ns: int) -> int:
    """Return where a run ended, which is at the target where it was reached."""
    return max(end_ns, 1)
