"""A drawing of a network: what share of its capacity every link carried."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from simbench.report.bundles import Bundle, LinkUse, Place, View, bundle_nodes
from simbench.report.figure import INK, SOFT_INK, WIDTH_IN
from simbench.report.looks import wrapped
from simbench.report.quantities import show_share

# From light to dark in one direction, so that it reads in grey and for every kind of colour
# vision; the palest tones, which vanish on white, are left out.
_COLOURS = ListedColormap(sns.color_palette("rocket_r", 256)[24:], name="use")
_IDLE = "#d5d9df"
_MARK = 15.0
"""Diameter of a node in points, where there is room."""
_LEAST_TEXT = 4.5
_MOST_NUMBERS = 33
"""Of more nodes than this, whose numbers don't fit into their marks, not all are numbered."""
_MOST_NAMES = 48
_MOST_SPACED = 2000
"""With more places than this, marks are dots."""
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
    views = [bundle_nodes(panel.uses, positions, num_workers) for panel in panels]
    drawn = {place: at for view in views for place, at in view.positions.items()}
    box = _Box.around(list(drawn.values()))
    spacing = _spacing(list(drawn.values())) / box.width * WIDTH_IN * 72
    # Side by side only if the marks of nodes still have their full size.
    columns = min(len(panels), 2 if box.width < 2.2 * box.height and spacing / 2.4 > _MARK else 1)
    rows = math.ceil(len(panels) / columns)
    panel_in = min(WIDTH_IN / columns * box.height / box.width, 4.8) + 0.5
    figure = Figure(figsize=(WIDTH_IN, rows * panel_in + 0.9), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    covered = 0.75 if len(drawn) < _MOST_NAMES * 2 else 0.25
    mark = max(1.5, min(_MARK, covered * spacing / columns))
    for panel, view, place in zip(panels, views, axes, strict=False):
        place.set(xlim=(box.left, box.right), ylim=(box.bottom, box.top), aspect="equal")
        _draw_panel(place, panel, view, num_workers, mark)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    has_server = any(isinstance(place, int) and place >= num_workers for place in drawn)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 100), _COLOURS),
        ax=axes,
        location="bottom",
        aspect=50,
        fraction=0.04,
        label="share of the link's capacity that was carried (%)\n"
        "one line each way, on the right-hand side of where the bytes go; faster links are wider; "
        "grey: nothing" + ("\ndiamond: a server on a machine of its own" if has_server else ""),
    )
    bar.outline.set_visible(False)
    bar.ax.xaxis.label.set_fontsize(8)
    return figure


def _draw_panel(
    axes: Axes,
    panel: MapPanel,
    view: View,
    num_workers: int,
    mark: float,
) -> None:
    axes.set_title(wrapped(panel.title, 60))
    axes.set_axis_off()
    shown = sorted(view.uses, key=lambda use: use.share)[-_MOST_LINKS:]
    _draw_links(axes, shown, view.positions)
    _draw_places(axes, view, num_workers, mark)
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
    axes.annotate(
        "; ".join(said), (0.5, 0), (0, -24 if len(view.positions) > _MOST_NAMES else -4),
        xycoords="axes fraction", textcoords="offset points", ha="center", va="top",
        color=SOFT_INK, fontsize=8,
    )  # fmt: skip


def _draw_links(
    axes: Axes, uses: Sequence[LinkUse], positions: Mapping[Any, tuple[float, float]]
) -> None:
    if not uses:
        return
    left, right = axes.get_xlim()
    gap = 0.0045 * (right - left)
    slowest = min(use.rate_bps for use in uses)
    crowd = 1.0 if len(uses) < 200 else max(0.25, (200 / len(uses)) ** 0.4)
    lines, colours, widths = [], [], []
    for use in uses:
        (x, y), (to_x, to_y) = positions[use.tail], positions[use.head]
        length = math.hypot(to_x - x, to_y - y) or 1.0
        aside = (to_y - y) / length * gap, (x - to_x) / length * gap
        lines.append([(x + aside[0], y + aside[1]), (to_x + aside[0], to_y + aside[1])])
        colours.append(_COLOURS(min(1.0, use.share)) if use.share else _IDLE)
        width = crowd * min(4.5, 1.6 + math.log10(use.rate_bps / slowest))
        widths.append(width if use.share else max(0.2, width * crowd**2))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=widths, zorder=1))


def _draw_places(axes: Axes, view: View, num_workers: int, mark: float) -> None:
    nodes = [place for place in view.positions if not isinstance(place, str)]
    switches = [place for place in view.positions if isinstance(place, str)]
    workers = [place for place in nodes if isinstance(place, Bundle) or place < num_workers]
    servers = [place for place in nodes if place not in set(workers)]
    for places, marker, colour, size in (
        (workers, "o", "white", mark),
        (servers, "D", "#e0a23b", 0.85 * mark),
        (switches, "s", "#39465f", 0.6 * mark),
    ):
        if places:
            x, y = zip(*(view.positions[place] for place in places), strict=True)
            axes.scatter(x, y, s=size**2, c=colour, marker=marker, edgecolors=INK, zorder=2)
    longest = max((len(str(place)) for place in nodes), default=1)
    size = min(7.5, 1.25 * mark / max(2, longest))
    if size >= _LEAST_TEXT:
        for place in nodes:
            axes.annotate(
                str(place), view.positions[place], ha="center", va="center", zorder=3, color=INK,
                fontsize=size,
            )  # fmt: skip
    else:
        every = math.ceil(len(workers) / _MOST_NUMBERS)
        _number_outside(axes, [*workers[::every], *servers], view.positions)
    _name_switches(axes, view.positions, switches)


def _number_outside(
    axes: Axes, places: Sequence[Any], positions: Mapping[Any, tuple[float, float]]
) -> None:
    """Write numbers that are too long for their marks beside them, away from the middle."""
    xs, ys = zip(*positions.values(), strict=True)
    middle = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    lowest = min(ys)
    reach = max(math.hypot(x - middle[0], y - middle[1]) for x, y in positions.values())
    for place in places:
        x, y = positions[place]
        away = math.hypot(x - middle[0], y - middle[1]) or 1.0
        # In the midst of others, a number would lie on their links.
        if away < 0.9 * reach and not isinstance(place, Bundle):
            continue
        in_row = sum(height == lowest for height in ys) > 2 and y == lowest
        aside = (0.0, -1.0) if in_row else ((x - middle[0]) / away, (y - middle[1]) / away)
        axes.annotate(
            str(place), (x, y), (9 * aside[0], 9 * aside[1]), textcoords="offset points",
            ha="center" if abs(aside[0]) < 0.3 else "left" if aside[0] > 0 else "right",
            va="top" if in_row else "center", rotation=90 if in_row else 0, fontsize=5.5,
            color=SOFT_INK, zorder=3,
        )  # fmt: skip


def _name_switches(
    axes: Axes, positions: Mapping[Any, tuple[float, float]], switches: Sequence[str]
) -> None:
    """Write each switch's name beside it; a row of switches of one tier gets its tier's name."""
    tiers: dict[str, list[str]] = {}
    for switch in switches:
        tiers.setdefault(switch.rpartition(" ")[0] or switch, []).append(switch)
    left = min(x for x, _ in positions.values())
    has_tiers = len({round(positions[switch][1], 6) for switch in switches}) > 1
    for tier, members in tiers.items():
        heights = {round(positions[member][1], 6) for member in members}
        if has_tiers and len(members) > 1 and len(heights) == 1:
            axes.annotate(
                tier, (left, heights.pop()), (-14, 0), textcoords="offset points", ha="right",
                va="center", fontsize=8, color=SOFT_INK,
            )  # fmt: skip
        elif len(members) <= _MOST_NAMES:
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


class _Box(NamedTuple):
    """What a panel shows, with a margin."""

    left: float
    right: float
    bottom: float
    top: float

    @classmethod
    def around(cls, points: Sequence[tuple[float, float]]) -> "_Box":
        xs, ys = zip(*points, strict=True)
        margin = 0.08 * max(max(xs) - min(xs), max(ys) - min(ys), 0.5)
        return cls(min(xs) - margin, max(xs) + margin, min(ys) - margin, max(ys) + margin)

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.top - self.bottom


def _spacing(points: Sequence[tuple[float, float]]) -> float:
    """Return how far the nearest two of ``points`` are apart."""
    if not 1 < len(points) <= _MOST_SPACED:
        return 0.0 if len(points) > 1 else math.inf
    xy = np.array(points)
    apart = np.hypot(*(xy[:, None] - xy).transpose(2, 0, 1))
    return float(apart[~np.eye(len(xy), dtype=bool)].min())
