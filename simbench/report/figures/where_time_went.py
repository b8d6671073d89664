"""Where each node's time went: shares of computing, communicating, waiting and being down."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from simbench.records import RunFolder
from simbench.report.figure import INK, WIDTH_IN, ReportFigure, empty
from simbench.report.looks import Activity, activities, looks, wrapped
from simbench.report.nodes import label, servers, shown, slowness, strategies

_COLUMNS = 3


class WhereTimeWent(ReportFigure):
    """Who works, who talks, who waits."""

    kind: Literal["where_time_went"] = "where_time_went"
    title: ClassVar[str] = "Where each node's time went"
    caption: ClassVar[str] = (
        "Shares of each node's virtual time from the start to the end of the run, over all seeds. "
        "A node that computes while it also sends or receives counts as computing. A node is "
        "called slower where its spans of computing last at least 1.5 times the median worker's. "
        "Of more than 24 nodes, some are shown: the special ones and the rest evenly spaced."
    )
    order: ClassVar[int] = 50

    def draw(self, run: RunFolder) -> Figure:
        """Draw a panel per strategy with a bar per node; the same node on the same row."""
        names = strategies(run)
        spans = run.table("spans")
        shown_activities = activities(spans["activity"].unique())
        slow = slowness(run, spans)
        # One label serves a whole row of panels, so it names every server that stands there.
        serving = {rank for ranks in servers(run).values() for rank in ranks}
        workers: int = run.summary["workers"]
        nodes = shown([int(n) for n in spans["node"].unique()], {*slow, *serving})
        columns = min(_COLUMNS, len(names))
        rows = math.ceil(len(names) / columns)
        figure = Figure(
            figsize=(WIDTH_IN, 1.0 + rows * (0.8 + 0.25 * max(len(nodes), 3))),
            layout="constrained",
        )
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
        panels = list(grid.flat)
        styles = looks(names)
        for panel, name in zip(panels, names, strict=False):
            panel.set_title(wrapped(name, 22), color=styles[name].colour)
            _draw_panel(panel, spans[spans["strategy"] == name], nodes, shown_activities)
            panel.set_yticks(range(len(nodes)), [label(n, serving, slow, workers) for n in nodes])
            panel.tick_params(axis="y", labelcolor=INK)
        for unused in panels[len(names) :]:
            unused.set_visible(False)
        figure.supxlabel("share of virtual time (%)", fontsize=10)
        handles = [
            Patch(facecolor=a.colour, hatch=a.hatch, edgecolor="white", label=a.label)
            for a in shown_activities.values()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        return figure


def _draw_panel(
    axes: Axes, spans: pd.DataFrame, nodes: list[int], drawn: Mapping[str, Activity]
) -> None:
    axes.set(xlim=(0, 100), ylim=(max(len(nodes), 1) - 0.45, -0.55))
    axes.grid(visible=False, axis="y")
    sns.despine(ax=axes, left=True)
    if spans.empty:
        empty(axes, "no time passed")
        return
    spent = spans.assign(spent_ns=spans["end_ns"] - spans["start_ns"]).pivot_table(
        index="node", columns="activity", values="spent_ns", aggfunc="sum", fill_value=0
    )
    table = spent.reindex(index=nodes, columns=list(drawn), fill_value=0)
    total = table.sum(axis="columns")
    shares = table.div(total.where(total > 0, 1), axis="index") * 100
    left = pd.Series(0.0, index=shares.index)
    for activity, look in drawn.items():
        axes.barh(
            range(len(nodes)),
            shares[activity],
            left=left,
            height=0.74,
            color=look.colour,
            hatch=look.hatch,
            edgecolor="white",
            linewidth=0,
        )
        left = left + shares[activity]
    for row, node in enumerate(nodes):
        computing = float(shares["compute"].to_numpy()[row])
        if computing >= 16:
            axes.text(
                1.5,
                row,
                f"{computing:.0f} %",
                va="center",
                color="white",
                fontsize=8,
            )
        if total[node] == 0:
            axes.text(1.5, row, "not used", va="center", fontsize=8, color="#8a909b")
