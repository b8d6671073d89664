"""Who is first over two axes of numbers: the phase diagram of a sweep."""

import math
from typing import Any, ClassVar, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simbench.records import RunFolder
from simbench.report.figure import INK, WIDTH_IN, SweepFigure, hide_unused
from simbench.report.looks import looks, wrapped
from simbench.report.points import AtPoint, at_points, name_of, numeric_axes

_MOST_PANELS = 6
_MOST_TICKS = 8
_NOBODY = "#eceef1"


class WhoIsFirst(SweepFigure):
    """The map of the answer."""

    kind: Literal["who_is_first"] = "who_is_first"
    title: ClassVar[str] = "Who is first where"
    caption: ClassVar[str] = (
        "Each cell is a point of the sweep and shows who reaches the target first there, by colour "
        "and marker; a paler cell is a lead of less than 10 %. A grey one without a marker: no "
        "strategy reaches it within its budget. Cells are as wide as each other, whatever the "
        "steps of the axes. A panel for each choice of further axes, the first "
        f"{_MOST_PANELS} of more."
    )
    order: ClassVar[int] = 5

    def suits(self, run: RunFolder) -> bool:
        """Two axes of numbers; any more are further panels."""
        return len(numeric_axes(run)) >= 2

    def draw(self, run: RunFolder) -> Figure:
        """Draw the first axis of numbers to the right and the second one upwards."""
        across, up = numeric_axes(run)[:2]
        points = at_points(run)
        names = [each.name for each in points[0].results]
        groups: dict[str, list[AtPoint]] = {}
        for point in points:
            drawn = (across["name"], up["name"])
            rest = {key: label for key, label in point.labels.items() if key not in drawn}
            groups.setdefault(name_of(rest), []).append(point)
        shown = list(groups.items())[:_MOST_PANELS]
        columns = min(2, len(shown))
        rows = math.ceil(len(shown) / columns)
        height = 1.3 + rows * (0.9 + min(4.2, 0.45 * len(up["labels"])))
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        panels = list(grid.flat)
        for panel, (title, inside) in zip(panels, shown, strict=False):
            panel.set_title(wrapped(title, 40))
            _draw_map(panel, inside, across, up, names)
        hide_unused(panels, len(shown), columns)
        figure.supxlabel(across["name"], fontsize=10)
        figure.supylabel(up["name"], fontsize=10)
        winners = {name for point in points for name in point.first}
        styles = {name: look for name, look in looks(names).items() if name in winners}
        handles = [
            Line2D([], [], color=look.colour, marker=look.marker, markersize=9, linestyle="none")
            for look in styles.values()
        ]
        if handles:
            labels = [wrapped(name, 30) for name in styles]
            figure.legend(handles, labels, loc="outside upper center", ncols=min(3, len(labels)))
        return figure


def _draw_map(
    panel: Axes, points: list[AtPoint], across: dict[str, Any], up: dict[str, Any], names: list[str]
) -> None:
    columns, rows = _order(across), _order(up)
    styles = looks(names)
    cells = np.zeros((len(rows), len(columns), 3))
    for point in points:
        row, column = rows[point.labels[up["name"]]], columns[point.labels[across["name"]]]
        cells[row, column] = to_rgb(_NOBODY)
        if not point.first:
            continue
        look = styles[point.first[0]]
        strength = 0.35 if _is_close(point) else 0.75
        cells[row, column] = 1 - strength * (1 - np.array(look.colour))
        panel.plot(
            column,
            row,
            marker=look.marker,
            markersize=max(3.0, min(9.0, 60 / max(len(rows), len(columns)))),
            color=INK,
            linestyle="none",
        )
    panel.imshow(cells, origin="lower", aspect="auto", interpolation="nearest")
    panel.grid(visible=False)
    _name_ticks(panel, columns, rows)


def _order(axis: dict[str, Any]) -> dict[str, int]:
    """Return where each value stands, small ones first."""
    numbers = dict(zip(axis["labels"], axis["numbers"], strict=True))
    return {label: place for place, label in enumerate(sorted(numbers, key=lambda n: numbers[n]))}


def _is_close(point: AtPoint) -> bool:
    ranked = point.ranked
    return len(ranked) > 1 and ranked[1].time_ns < 1.1 * ranked[0].time_ns


def _name_ticks(panel: Axes, columns: dict[str, int], rows: dict[str, int]) -> None:
    for labels, setter in ((columns, panel.set_xticks), (rows, panel.set_yticks)):
        step = math.ceil(len(labels) / _MOST_TICKS)
        shown = list(labels.items())[::step]
        setter([place for _, place in shown], [label for label, _ in shown])
