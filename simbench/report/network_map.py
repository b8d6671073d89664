"""A drawing of a network: what share of its capacity every link carried."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from simbench.report.bundles import Bundle, LinkUse, Place, bundle_nodes
from simbench.report.figure import INK, SOFT_INK, WIDTH_IN
from simbench.report.looks import wrapped
from simbench.report.quantities import show_share

# From light to dark in one direction, so that it reads in grey and for every kind of colour
# vision; the palest tones, which vanish on white, are left out.
_COLOURS = ListedColormap(sns.color_palette("rocket_r", 256)[24:], name="use")
_IDLE = "#d5d9df"
_MOST_LABELS = 48
_MOST_LINKS = 6000
"""Of more links than this the busiest are drawn: the others would be a blur, and a large file."""


class MapPanel(NamedTuple):
    """One drawing of the network."""

    title: str
    uses: Sequence[LinkUse]


def draw_map(
    panels: Sequence[MapPanel],
    positions: Mapping[Place, tuple[float, float]],
    num_workers: int,
) -> Figure:
    """Return one panel per strategy, all over the same places.

    Args:
        panels: the links of each; there may be other places in one than in another.
        positions: x and y of every node (a rank) and switch (a name).
        num_workers: nodes of this rank and above are machines of servers.
    """
    xs, ys = zip(*positions.values(), strict=True)
    width, height = max(max(xs) - min(xs), 0.5), max(max(ys) - min(ys), 0.5)
    columns = min(len(panels), 2 if width < 2.2 * height else 1)
    rows = math.ceil(len(panels) / columns)
    panel_in = min(WIDTH_IN / columns * height / width, 6.5) + 0.7
    figure = Figure(figsize=(WIDTH_IN, rows * panel_in + 0.9), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, place in zip(panels, axes, strict=False):
        _draw_panel(place, panel, positions, num_workers)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 100), _COLOURS),
        ax=axes,
        location="bottom",
        aspect=50,
        fraction=0.04,
        label="share of the link's capacity that was carried (%)\n"
        "one line each way, on the right-hand side of where the bytes go; faster links are wider; "
        "grey: nothing",
    )
    bar.outline.set_visible(False)
    bar.ax.xaxis.label.set_fontsize(8)
    return figure


def _draw_panel(
    axes: Axes,
    panel: MapPanel,
    positions: Mapping[Place, tuple[float, float]],
    num_workers: int,
) -> None:
    view = bundle_nodes(panel.uses, positions, num_workers)
    axes.set_title(wrapped(panel.title, 60))
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.margins(0.12)
    shown = sorted(view.uses, key=lambda use: use.share)[-_MOST_LINKS:]
    _draw_links(axes, shown, view.positions)
    _draw_places(axes, view, num_workers)
    said = []
    if shown and shown[-1].share:
        busiest = max(panel.uses, key=lambda use: use.share)
        said.append(
            f"busiest: {_name(busiest.tail, num_workers)} to {_name(busiest.head, num_workers)}, "
            f"{show_share(busiest.share)}"
        )
    if len(shown) < len(view.uses):
        said.append(f"the busiest {len(shown):,} of {len(view.uses):,} links")
    if any(isinstance(place, Bundle) for place in view.positions):
        said.append("nodes in bundles, coloured by the busiest link")
    axes.text(
        0.5, -0.01, "; ".join(said), transform=axes.transAxes, ha="center", va="top",
        color=SOFT_INK, fontsize=8,
    )  # fmt: skip


def _draw_links(
    axes: Axes, uses: Sequence[LinkUse], positions: Mapping[Any, tuple[float, float]]
) -> None:
    if not uses:
        return
    xs, ys = zip(*positions.values(), strict=True)
    gap = 0.005 * max(max(xs) - min(xs), max(ys) - min(ys), 0.5)
    slowest = min(use.rate_bps for use in uses)
    crowd = 1.0 if len(uses) < 200 else max(0.25, (200 / len(uses)) ** 0.4)
    lines, colours, widths = [], [], []
    for use in uses:
        (x, y), (to_x, to_y) = positions[use.tail], positions[use.head]
        length = math.hypot(to_x - x, to_y - y) or 1.0
        right = (to_y - y) / length * gap, (x - to_x) / length * gap
        lines.append([(x + right[0], y + right[1]), (to_x + right[0], to_y + right[1])])
        colours.append(_COLOURS(min(1.0, use.share)) if use.share else _IDLE)
        widths.append(crowd * min(4.5, 1.6 + math.log10(use.rate_bps / slowest)))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=widths, zorder=1))
    axes.autoscale_view()


def _draw_places(axes: Axes, view: Any, num_workers: int) -> None:
    nodes = [place for place in view.positions if not isinstance(place, str)]
    switches = [place for place in view.positions if isinstance(place, str)]
    size = 1.0 if len(view.positions) < 60 else (60 / len(view.positions)) ** 0.5
    workers = [place for place in nodes if isinstance(place, Bundle) or place < num_workers]
    servers = [place for place in nodes if place not in set(workers)]
    for places, marker, colour, points in (
        (workers, "o", "white", 230),
        (servers, "D", "#e0a23b", 230),
        (switches, "s", "#39465f", 90),
    ):
        if places:
            x, y = zip(*(view.positions[place] for place in places), strict=True)
            axes.scatter(x, y, s=points * size, c=colour, marker=marker, edgecolors=INK, zorder=2)
    every = math.ceil(len(workers) / _MOST_LABELS)
    for place in [*workers[::every], *servers]:
        axes.annotate(
            str(place), view.positions[place], ha="center", va="center", zorder=3, color=INK,
            fontsize=max(4.0, 7.5 * size) if len(str(place)) < 3 else max(3.5, 5.5 * size),
        )  # fmt: skip
    _name_switches(axes, view.positions, switches)


def _name_switches(
    axes: Axes, positions: Mapping[Any, tuple[float, float]], switches: Sequence[str]
) -> None:
    """Write each switch's name beside it; a row of switches of one tier gets its tier's name."""
    tiers: dict[str, list[str]] = {}
    for switch in switches:
        tiers.setdefault(switch.rpartition(" ")[0] or switch, []).append(switch)
    left = min(x for x, _ in positions.values())
    for tier, members in tiers.items():
        heights = {positions[member][1] for member in members}
        if len(members) > 1 and len(heights) == 1:
            axes.annotate(
                tier, (left, heights.pop()), (-14, 0), textcoords="offset points", ha="right",
                va="center", fontsize=8, color=SOFT_INK,
            )  # fmt: skip
        elif len(members) <= _MOST_LABELS:
            for member in members:
                axes.annotate(
                    member, positions[member], (0, 7), textcoords="offset points", ha="center",
                    fontsize=8, color=SOFT_INK, zorder=3,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
                )  # fmt: skip


def _name(place: Place, num_workers: int) -> str:
    if isinstance(place, str):
        return place
    return f"node {place}" if place < num_workers else f"the server (node {place})"
