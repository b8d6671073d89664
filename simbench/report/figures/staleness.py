"""Staleness: how old the parameters were that each update was computed from."""

from typing import ClassVar, Literal

import seaborn as sns
from matplotlib.figure import Figure

from simbench.records import RunFolder
from simbench.report.figure import INK, WIDTH_IN, ReportFigure, empty
from simbench.report.looks import looks, wrapped
from simbench.report.nodes import strategies

_MOST_BARS = 60


class Staleness(ReportFigure):
    """The price of not waiting."""

    kind: Literal["staleness"] = "staleness"
    title: ClassVar[str] = "Staleness of updates"
    caption: ClassVar[str] = (
        "How many updates had been applied between the moment when a worker read the parameters "
        "and the moment when its own update was applied, its own not counted, over all seeds. The "
        "dashed line is the mean. Zero: every update was computed from the newest parameters."
    )
    order: ClassVar[int] = 70

    def draw(self, run: RunFolder) -> Figure:
        """Draw a panel per strategy over the same axis."""
        names = strategies(run)
        updates = run.table("updates")
        most = int(updates["staleness_updates"].max()) if len(updates) else 0
        if not most:
            figure = Figure(figsize=(WIDTH_IN, 1.0), layout="constrained")
            told = "every update was computed from the newest parameters: nothing is ever stale"
            panel = figure.subplots()
            empty(panel, told if len(updates) else "no updates")
            sns.despine(ax=panel, left=True, bottom=True)
            return figure
        figure = Figure(figsize=(WIDTH_IN, 0.8 + 1.35 * len(names)), layout="constrained")
        panels = figure.subplots(len(names), 1, squeeze=False, sharex=True).flat
        styles = looks(names)
        for panel, name in zip(panels, names, strict=True):
            panel.set_title(wrapped(name, 60), color=styles[name].colour)
            values = updates[updates["strategy"] == name]["staleness_updates"].to_numpy()
            if len(values) == 0:
                empty(panel, "no updates")
                continue
            if most <= _MOST_BARS:
                sns.histplot(
                    x=values,
                    discrete=True,
                    shrink=0.8,
                    stat="percent",
                    ax=panel,
                    color=styles[name].colour,
                    alpha=0.9,
                )
            else:
                sns.histplot(
                    x=values,
                    bins=_MOST_BARS,
                    binrange=(0, most),
                    stat="percent",
                    ax=panel,
                    color=styles[name].colour,
                    alpha=0.9,
                )
            mean = float(values.mean())
            panel.axvline(mean, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
            panel.set_title(f"mean {mean:.1f}", loc="right", fontsize=9, fontweight="normal")
            panel.set(ylabel="updates (%)", xlim=(-0.8, max(most, 5) + 0.8))
            panel.grid(visible=False, axis="x")
            sns.despine(ax=panel)
        panels[-1].set_xlabel("staleness (updates)")
        return figure
