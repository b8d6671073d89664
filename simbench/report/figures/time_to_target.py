"""Time to target: a point per seed, and what did not arrive."""

import math
from typing import ClassVar, Literal

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simbench.records import RunFolder
from simbench.report.figure import INK, SOFT_INK, WIDTH_IN, ReportFigure, empty
from simbench.report.looks import Look, looks, wrapped
from simbench.report.outcomes import Outcome, outcomes
from simbench.report.quantities import Unit, show_target, show_time, time_unit


class TimeToTarget(ReportFigure):
    """Who is first, by how much, and how sure that is."""

    kind: Literal["time_to_target"] = "time_to_target"
    title: ClassVar[str] = "Time to target"
    caption: ClassVar[str] = (
        "A filled point per seed at the virtual time of its first evaluation at or below the "
        "target; the upright line is the median over seeds. A hollow point with an arrow is a "
        "seed that had not reached the target when its run ended there."
    )
    order: ClassVar[int] = 20

    def draw(self, run: RunFolder) -> Figure:
        """Draw a row per strategy, the first strategy of the scenario on top."""
        results = outcomes(run)
        target: float | None = run.summary["target_loss"]
        figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.75 * len(results)), layout="constrained")
        axes = figure.subplots()
        if target is None:
            empty(axes, "the scenario sets no target loss")
            return figure
        longest = max(_place(a.time_ns, a.summary["end_ns"]) for o in results for a in o.attempts)
        unit = time_unit(longest)
        right = max(longest / unit.size, 1e-9) * 1.12
        styles = looks([outcome.name for outcome in results])
        axes.set(
            xlim=(0, right),
            ylim=(len(results) - 0.45, -0.7),
            yticks=range(len(results)),
            yticklabels=[wrapped(outcome.name, 26) for outcome in results],
            xlabel=f"virtual time until the loss is at most {show_target(target)} ({unit.name})",
        )
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", labelcolor=INK)
        for row, outcome in enumerate(results):
            _draw_row(axes, row, outcome, styles[outcome.name], unit)
            _write(axes, row, outcome, unit, right)
        sns.despine(ax=axes, left=True)
        return figure


def _draw_row(axes: Axes, row: int, outcome: Outcome, look: Look, unit: Unit) -> None:
    axes.axhline(row, color="#e7e9ed", linewidth=1, zorder=0)
    for attempt in outcome.attempts:
        x = _place(attempt.time_ns, attempt.summary["end_ns"]) / unit.size
        axes.plot(
            x,
            row,
            marker=look.marker,
            markersize=9,
            color=look.colour,
            markerfacecolor=(*look.colour, 0.85) if attempt.reached else "white",
            markeredgecolor="white" if attempt.reached else look.colour,
            markeredgewidth=0.8 if attempt.reached else 1.6,
            clip_on=False,
            zorder=3,
        )
        if not attempt.reached:
            axes.annotate(
                "",
                (x, row),
                xytext=(26, 0),
                textcoords="offset points",
                arrowprops={"arrowstyle": "<-", "color": look.colour, "linewidth": 1.4},
                annotation_clip=False,
            )
    if math.isfinite(outcome.time_ns):
        x = outcome.time_ns / unit.size
        axes.plot([x, x], [row - 0.24, row + 0.24], color=INK, linewidth=2, zorder=4)


def _write(axes: Axes, row: int, outcome: Outcome, unit: Unit, right: float) -> None:
    """Write the median, or that there is none, above the points."""
    failed = [attempt for attempt in outcome.attempts if not attempt.reached]
    text = f"median {show_time(outcome.time_ns)}" if math.isfinite(outcome.time_ns) else ""
    x = outcome.time_ns
    if failed:
        latest = max(attempt.summary["end_ns"] for attempt in failed)
        text += ", " if text else ""
        text += f"not reached within {show_time(latest)}"
        if len(outcome.attempts) > 1:
            text += f" in {len(failed)} of {len(outcome.attempts)} seeds"
        x = x if math.isfinite(x) else latest
    place = x / unit.size
    side = "right" if place > 0.75 * right else "left" if place < 0.25 * right else "center"
    axes.annotate(
        text,
        (place, row - 0.27),
        xytext=({"right": 14, "left": -10, "center": 0}[side], 1),
        textcoords="offset points",
        ha=side,
        va="bottom",
        fontsize=9,
        color=SOFT_INK if failed else INK,
    )


def _place(time_ns: float, end_ns: int) -> float:
    return time_ns if math.isfinite(time_ns) else end_ns
