"""Loss against something that grows during a run: time, samples or bytes."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simbench.records import RunFolder
from simbench.report.figure import INK, WIDTH_IN, empty
from simbench.report.looks import Look, looks, wrapped
from simbench.report.nodes import strategies
from simbench.report.quantities import Unit, show_target

_LOG_FROM = 20
"""Strategies whose ranges differ by this factor are shown on a logarithmic axis."""


def draw_loss(run: RunFolder, column: str, unit_for: Callable[[float], Unit], label: str) -> Figure:
    """Draw the loss against ``column``: a line per strategy, its seeds as thin lines and a band.

    Args:
        run: whose losses.
        column: of the table ``evaluations``.
        unit_for: picks the unit from the largest value.
        label: of the axis, with ``{}`` where the unit goes.
    """
    names = strategies(run)
    styles = looks(names)
    target: float | None = run.summary["target_loss"]
    data = run.table("evaluations").sort_values(["time_ns", "progress"])
    data = data[np.isfinite(data["loss"])]
    figure = Figure(figsize=(WIDTH_IN, 4.4), layout="constrained")
    axes = figure.subplots()
    unit = unit_for(float(data[column].max()) if len(data) else 0.0)
    axes.set(xlabel=label.format(unit.name), ylabel="validation loss")
    if data.empty:
        empty(axes, "no evaluation was recorded")
        return figure
    data["x"] = data[column] / unit.size
    ends = data.groupby("strategy")["x"].max()
    logarithmic = bool(ends.max() > _LOG_FROM * ends.min() > 0)
    if logarithmic:
        # Nothing has happened yet at zero, and a logarithmic axis can't show it.
        data = data[data["x"] > 0]
        axes.set_xscale("log")
    _draw_seeds(axes, data, styles, target)
    _draw_bands(axes, data, styles)
    if data["loss"].min() > 0 and data["loss"].max() > 10 * data["loss"].min():
        axes.set_yscale("log")
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.linestyle)
        for look in styles.values()
    ]
    labels = [wrapped(name, 30) for name in names]
    figure.legend(handles, labels, loc="outside upper center", ncols=min(3, len(names)))
    if target is not None:
        _draw_target(axes, target)
    if not logarithmic:
        axes.set_xlim(left=0)
    sns.despine(ax=axes)
    return figure


def _draw_seeds(
    axes: Axes, data: pd.DataFrame, styles: dict[str, Look], target: float | None
) -> None:
    """Draw each seed as a thin line that ends in a marker, filled where it reached the target."""
    for (name, _), seed in data.groupby(["strategy", "seed"], sort=False):
        look = styles[str(name)]
        axes.plot(seed["x"], seed["loss"], color=look.colour, linewidth=0.8, alpha=0.55)
        reached = target is not None and bool((seed["loss"] <= target).any())
        axes.plot(
            seed["x"].iloc[-1],
            seed["loss"].iloc[-1],
            marker=look.marker,
            markersize=8,
            color=look.colour,
            markerfacecolor=look.colour if reached else "white",
            markeredgecolor="white" if reached else look.colour,
            markeredgewidth=0.8 if reached else 1.6,
            linestyle="none",
            zorder=5,
        )


def _draw_bands(axes: Axes, data: pd.DataFrame, styles: dict[str, Look]) -> None:
    """Draw the median of the seeds, and from the lowest to the highest, while all of them run."""
    common = pd.concat([_on_common_grid(group) for _, group in data.groupby("strategy")])
    for number, (name, look) in enumerate(styles.items()):
        sns.lineplot(
            data=common[common["strategy"] == name],
            x="x",
            y="loss",
            estimator="median",
            errorbar=("pi", 100),
            color=look.colour,
            marker=look.marker,
            # Shifted, so that markers of curves on top of each other don't hide one another.
            markevery=(0.04 + 0.03 * number, 0.14),
            linestyle=look.linestyle,
            linewidth=2.0,
            legend=False,
            ax=axes,
        )


def _on_common_grid(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return one strategy's losses at the same places for all seeds, linear between evaluations."""
    seeds = [(seed, group) for seed, group in evaluations.groupby("seed")]
    first = max(group["x"].min() for _, group in seeds)
    last = min(group["x"].max() for _, group in seeds)
    grid = np.unique(evaluations["x"])
    grid = grid[(grid >= first) & (grid <= last)]
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "strategy": group["strategy"].iloc[0],
                    "seed": seed,
                    "x": grid,
                    "loss": np.interp(grid, group["x"], group["loss"]),
                }
            )
            for seed, group in seeds
        ]
    )


def _draw_target(axes: Axes, target: float) -> None:
    axes.axhline(target, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        f"target {show_target(target)}",
        (0, target),
        xycoords=("axes fraction", "data"),
        xytext=(5, 3),
        textcoords="offset points",
        fontsize=9,
    )
