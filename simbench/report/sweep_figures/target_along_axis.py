"""Time to target against the numbers of one axis: where the lines cross, the answer changes."""

import math
from typing import Any, ClassVar, Literal

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy

from simbench.records import RunFolder
from simbench.report.figure import INK, WIDTH_IN, SweepFigure, empty, hide_unused, name_ticks
from simbench.report.looks import Look, looks, wrapped
from simbench.report.outcomes import Outcome
from simbench.report.points import AtPoint, at_points, name_of, numeric_axes
from simbench.report.quantities import Unit, time_unit

_MOST_PANELS = 6
_LOG_FROM = 9
"""An axis whose largest value is so many times its smallest is logarithmic."""
_MOST_TICKS = 7


class TargetAlongAxis(SweepFigure):
    """Where the answer changes."""

    kind: Literal["target_along_axis"] = "target_along_axis"
    title: ClassVar[str] = "Time to target along an axis"
    caption: ClassVar[str] = (
        "Median over seeds of the virtual time to the target, and a band from the fastest to the "
        "slowest seed. A hollow marker with an arrow: half of the seeds or more had not reached "
        "the target when they ended there, so the time is longer. Where two lines cross, another "
        "strategy is first. A panel for each choice of the other axes, the first "
        f"{_MOST_PANELS} of more."
    )
    order: ClassVar[int] = 20

    def suits(self, run: RunFolder) -> bool:
        """One axis of numbers: of two, the map of who is first tells more."""
        return len(numeric_axes(run)) == 1

    def draw(self, run: RunFolder) -> Figure:
        """Draw a line per strategy."""
        (axis,) = numeric_axes(run)
        points = at_points(run)
        groups: dict[str, list[AtPoint]] = {}
        for point in points:
            others = {k: label for k, label in point.labels.items() if k != axis["name"]}
            groups.setdefault(name_of(others), []).append(point)
        shown = list(groups.items())[:_MOST_PANELS]
        names = [each.name for each in points[0].results]
        columns = min(2, len(shown))
        rows = math.ceil(len(shown) / columns)
        size = (WIDTH_IN, 1.1 + 3.4 * rows) if columns == 1 else (WIDTH_IN, 1.1 + 3.0 * rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        panels = list(grid.flat)
        ends = [max(1, o.end_ns) for p in points for o in p.results]
        unit = time_unit(max(ends))
        styles = looks(names)
        numbers = dict(zip(axis["labels"], axis["numbers"], strict=True))
        _set_axis(panels[0], numbers)
        if max(ends) > _LOG_FROM * min(ends):
            panels[0].set_yscale("log")
            name_ticks(panels[0].yaxis)
            panels[0].set_ylim(min(ends) / unit.size / 1.3, max(ends) / unit.size * 1.6)
        else:
            panels[0].set_ylim(0, max(ends) / unit.size * 1.2)
        for panel, (title, inside) in zip(panels, shown, strict=False):
            panel.set_title(wrapped(title, 40))
            _draw_panel(panel, inside, axis["name"], numbers, styles, unit)
        hide_unused(panels, len(shown), columns)
        figure.supxlabel(axis["name"], fontsize=10)
        figure.supylabel(f"virtual time until the target loss ({unit.name})", fontsize=10)
        handles = [
            Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.linestyle)
            for look in styles.values()
        ]
        labels = [wrapped(name, 30) for name in names]
        figure.legend(handles, labels, loc="outside upper center", ncols=min(3, len(names)))
        return figure


def _set_axis(panel: Axes, numbers: dict[str, float]) -> None:
    values = sorted(numbers.values())
    if values[0] > 0 and values[-1] > _LOG_FROM * values[0]:
        panel.set_xscale("log")
    step = math.ceil(len(values) / _MOST_TICKS)
    texts = {number: label for label, number in numbers.items()}
    ticks = values[::step]
    panel.set_xticks(ticks, [texts[tick] for tick in ticks])
    panel.minorticks_off()


def _draw_panel(
    panel: Axes,
    points: list[AtPoint],
    axis: str,
    numbers: dict[str, float],
    styles: dict[str, Look],
    unit: Unit,
) -> None:
    sns.despine(ax=panel)
    panel.tick_params(axis="x", labelcolor=INK)
    if any(point.target is None for point in points):
        empty(panel, "no target loss")
        return
    points = sorted(points, key=lambda point: numbers[point.labels[axis]])
    xs = [numbers[point.labels[axis]] for point in points]
    for place, look in enumerate(styles.values()):
        _draw_line(panel, xs, [point.results[place] for point in points], look, unit)
    for x, point in zip(xs, points, strict=True):
        short = [each for each in point.results if not math.isfinite(each.time_ns)]
        for place, outcome in enumerate(short):
            # Side by side, since many strategies may have ended at the same budget.
            aside = 9 * (place - (len(short) - 1) / 2)
            _draw_unreached(panel, x, outcome, styles[outcome.name], unit, aside)


def _draw_line(
    panel: Axes, xs: list[float], outcomes: list[Outcome], look: Look, unit: Unit
) -> None:
    reached = [math.isfinite(outcome.time_ns) for outcome in outcomes]
    ys = [o.time_ns / unit.size if r else math.nan for o, r in zip(outcomes, reached, strict=True)]
    style: dict[str, Any] = {"color": look.colour, "zorder": 3}
    panel.plot(xs, ys, marker=look.marker, markersize=7, linestyle=look.linestyle, **style)
    times = [[a.time_ns / unit.size for a in outcome.attempts] for outcome in outcomes]
    whole = [all(map(math.isfinite, each)) for each in times]
    panel.fill_between(
        xs,
        [min(each) if w else math.nan for each, w in zip(times, whole, strict=True)],
        [max(each) if w else math.nan for each, w in zip(times, whole, strict=True)],
        color=look.colour,
        alpha=0.15,
        linewidth=0,
    )


def _draw_unreached(
    panel: Axes, x: float, outcome: Outcome, look: Look, unit: Unit, aside: float
) -> None:
    figure = panel.get_figure(root=True)
    place = offset_copy(panel.transData, figure, x=aside, y=0, units="points")
    y = max(outcome.end_ns, 1) / unit.size
    panel.plot(
        x,
        y,
        marker=look.marker,
        markersize=7,
        markerfacecolor="white",
        markeredgecolor=look.colour,
        markeredgewidth=1.4,
        linestyle="none",
        transform=place,
        zorder=4,
    )
    panel.annotate(
        "",
        (x, y),
        xycoords=place,
        xytext=(0, 20),
        textcoords="offset points",
        arrowprops={"arrowstyle": "<-", "color": look.colour, "linewidth": 1.2},
    )
