"""A timeline of a few rounds: what every node did, moment by moment."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from simbench.records import RunFolder
from simbench.report.figure import INK, SOFT_INK, WIDTH_IN, ReportFigure
from simbench.report.looks import ACTIVITIES, activities, looks, wrapped
from simbench.report.nodes import label, servers, shown, slowness, strategies
from simbench.report.quantities import time_unit

_ROUNDS = 5
_MARKS = {"left": "x", "restored": "^"}
_MOST_SPANS = 3000
"""More than this in one panel is a blur."""
_MOST_IN_ALL = 4500
"""More than this in all panels is a large file."""


class Timeline(ReportFigure):
    """The rhythm of each strategy."""

    kind: Literal["timeline"] = "timeline"
    title: ClassVar[str] = "A few rounds, moment by moment"
    caption: ClassVar[str] = (
        "What each node did in the same stretch of virtual time, around the middle of the shortest "
        "run and about five rounds of the slowest strategy long (a round: one update, or one by "
        "every worker where they update one by one), on the first seed. Ticks below a panel are "
        "updates of the shared model."
    )
    order: ClassVar[int] = 60

    def draw(self, run: RunFolder) -> Figure:
        """Draw a panel per strategy over the same window."""
        names = strategies(run)
        seed = min((entry["seed"] for entry in run.summary["runs"]), default=0)
        spans, updates = run.table("spans"), run.table("updates")
        shown_activities = activities(spans["activity"].unique())
        slow, serving = slowness(run, spans), servers(run)
        spans, updates = spans[spans["seed"] == seed], updates[updates["seed"] == seed]
        start, end = window(spans, updates)
        unit = time_unit(end)
        nodes = {
            name: shown(
                [int(n) for n in spans[spans["strategy"] == name]["node"].unique()],
                {*slow, *serving.get(name, ())},
            )
            for name in names
        }
        heights = [0.6 + 0.22 * max(len(nodes[name]), 3) for name in names]
        figure = Figure(figsize=(WIDTH_IN, 1.1 + sum(heights)), layout="constrained")
        panels = figure.subplots(
            len(names), 1, squeeze=False, sharex=True, height_ratios=heights
        ).flat
        styles = looks(names)
        events = run.table("events")
        events = events[(events["seed"] == seed) & events["what"].isin(_MARKS)]
        for panel, name in zip(panels, names, strict=True):
            panel.set_title(wrapped(name, 70), color=styles[name].colour)
            panel.set_xlim(start / unit.size, max(end, start + 1) / unit.size)
            rows = nodes[name]
            workers = run.summary["workers"]
            labels = {n: label(n, serving.get(name, ()), slow, workers) for n in rows}
            own = spans[(spans["strategy"] == name) & spans["node"].isin(rows)]
            visible = own[(own["end_ns"] > start) & (own["start_ns"] < end)]
            times = updates[updates["strategy"] == name]["time_ns"]
            _draw_panel(panel, visible, labels, times / unit.size, unit.size)
            _mark(panel, events[events["strategy"] == name], rows, (start, end), unit.size)
        panels[-1].set_xlabel(f"virtual time ({unit.name})")
        handles = [
            Patch(facecolor=a.colour, hatch=a.hatch, edgecolor="white", label=a.label)
            for a in shown_activities.values()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        return figure


def _draw_panel(
    axes: Axes,
    spans: pd.DataFrame,
    labels: Mapping[int, str],
    updates: "pd.Series[float]",
    size: int,
) -> None:
    sns.despine(ax=axes, left=True)
    axes.grid(visible=False, axis="y")
    if spans.empty:
        axes.text(
            0.5, 0.5, "nothing recorded here", transform=axes.transAxes, ha="center", color=SOFT_INK
        )
        axes.set_yticks([])
        return
    axes.set_yticks(range(len(labels)), list(labels.values()))
    axes.set_ylim(len(labels) - 0.1, -0.6)
    axes.tick_params(axis="y", labelcolor=INK)
    rows = {node: row for row, node in enumerate(labels)}
    for (node, activity), group in spans.groupby(["node", "activity"]):
        look = ACTIVITIES[str(activity)]
        axes.broken_barh(
            [
                (start / size, (end - start) / size)
                for start, end in zip(group["start_ns"], group["end_ns"], strict=True)
            ],
            (rows[int(str(node))] - 0.38, 0.76),
            facecolors=look.colour,
            hatch=look.hatch,
            edgecolor="white",
            linewidth=0.3,
        )
    left, right = axes.get_xlim()
    inside = updates[(updates >= left) & (updates <= right)]
    axes.plot(inside, [len(labels) - 0.35] * len(inside), "|", color=INK, markersize=7)


def _mark(
    axes: Axes, events: pd.DataFrame, nodes: Sequence[int], inside: tuple[int, int], size: int
) -> None:
    """Mark where nodes left and were restored."""
    subjects = {f"node {node}": row for row, node in enumerate(nodes)}
    shown = events[events["subject"].isin(subjects) & events["time_ns"].between(*inside)]
    for what, group in shown.groupby("what"):
        places = [subjects[subject] for subject in group["subject"]]
        axes.plot(group["time_ns"] / size, places, _MARKS[str(what)], color=INK, markersize=5)


def window(spans: pd.DataFrame, updates: pd.DataFrame) -> tuple[int, int]:
    """Return from when to when, in ns: inside of every run, about five of the longest rounds."""
    if spans.empty:
        return 0, 1
    shortest = int(spans.groupby("strategy")["end_ns"].max().min())
    rounds = [_round_ns(own) for _, own in updates.groupby("strategy") if len(own) > 1]
    length = min(int(_ROUNDS * max(rounds, default=shortest / _ROUNDS)), shortest)
    while True:
        start = (shortest - length) // 2
        inside = spans[(spans["end_ns"] > start) & (spans["start_ns"] < start + length)]
        is_full = inside.groupby("strategy").size().max() > _MOST_SPANS
        if length < 2 or not (is_full or len(inside) > _MOST_IN_ALL):
            return start, start + length
        length //= 2


def _round_ns(updates: pd.DataFrame) -> float:
    """Return how long one strategy takes for an update in which every worker has had a part."""
    pushing = max(1, updates["node"].nunique())
    return float(updates["time_ns"].sort_values().diff().median()) * pushing
