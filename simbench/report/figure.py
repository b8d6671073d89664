"""What a figure of the report is, and how all of them come to look alike."""

import io
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from simbench.records import RunFolder
from simbench.spec import Spec, discover

WIDTH_IN = 8.4
INK = "#22262e"
SOFT_INK = "#5d6470"


class ReportFigure(Spec):
    """One figure: a file in ``simbench/report/figures`` holds a final class of this kind.

    The class has a ``kind`` (which names its files) and these three, and draws on a figure of its
    own, never through pyplot, so that nothing is left open.
    """

    title: ClassVar[str]
    caption: ClassVar[str]
    """What is drawn and how to read it, for somebody who sees it for the first time."""
    order: ClassVar[int]
    """Where it stands on the page; low is first."""

    @abstractmethod
    def draw(self, run: RunFolder) -> Figure:
        """Return the figure for one run; whatever happened in it, even nothing."""


class SweepFigure(ReportFigure):
    """One figure of the points of a sweep together: a file in ``simbench/report/sweep_figures``."""

    @abstractmethod
    def suits(self, run: RunFolder) -> bool:
        """Return whether the axes of the sweep are of the kind that this figure draws."""


def report_figures() -> dict[str, ReportFigure]:
    """Return every figure by its kind, in the order of the page."""
    return _in_order(discover("simbench.report.figures", ReportFigure))


def sweep_figures(run: RunFolder) -> dict[str, ReportFigure]:
    """Return every figure that suits the axes of a sweep, in the order of the page."""
    found = _in_order(discover("simbench.report.sweep_figures", SweepFigure))
    return {kind: figure for kind, figure in found.items() if figure.suits(run)}


def _in_order(classes: Mapping[str, type[Any]]) -> dict[str, Any]:
    found = [(kind, member()) for kind, member in classes.items()]
    return dict(sorted(found, key=lambda pair: (pair[1].order, pair[0])))


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in one style, whatever the user's matplotlibrc says, and leave no trace of it."""
    with mpl.rc_context():
        mpl.rcdefaults()
        style: dict[Any, Any] = {
            **sns.axes_style("whitegrid"),
            **sns.plotting_context("notebook", font_scale=0.9),
            "font.family": "DejaVu Sans",
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": "#b9bec7",
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "grid.color": "#e7e9ed",
            "xtick.color": SOFT_INK,
            "ytick.color": SOFT_INK,
            "figure.constrained_layout.w_pad": 0.1,
            "figure.constrained_layout.h_pad": 0.08,
            "hatch.linewidth": 0.6,
            "legend.frameon": False,
            # Element ids are hashes; without a salt they would differ from run to run.
            "svg.hashsalt": "simbench",
            "svg.fonttype": "path",
        }
        mpl.rcParams.update(style)
        yield


def pictures(figure: ReportFigure, run: RunFolder) -> dict[str, bytes]:
    """Draw one figure and return its files by suffix: the same bytes for the same records."""
    with house_style():
        drawn = figure.draw(run)
        return {suffix: _file(drawn, suffix) for suffix in ("png", "svg")}


def picture(draw: Callable[[], Figure], suffix: str) -> bytes:
    """Return what ``draw`` draws as a file of one kind, ``png`` or ``svg``."""
    with house_style():
        return _file(draw(), suffix)


def _file(drawn: Figure, suffix: str) -> bytes:
    # Without these, the same figure would be other bytes each time, or with each version.
    metadata = {"png": {"Software": None}, "svg": {"Date": None}}[suffix]
    buffer = io.BytesIO()
    drawn.savefig(buffer, format=suffix, dpi=144, metadata=metadata, facecolor="white")
    return buffer.getvalue()


def name_ticks(axis: Axis, *, narrow: bool = False) -> None:
    """Put plain numbers on a logarithmic axis; on a narrow one, only powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1.0,) if narrow else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def hide_unused(panels: Sequence[Axes], used: int, columns: int) -> None:
    """Leave out the last panels of a grid, and let those above them name their axis instead."""
    for panel in panels[used:]:
        panel.set_visible(False)
    for panel in panels[max(0, used - columns) : used]:
        panel.tick_params(labelbottom=True)


def empty(axes: Axes, what: str) -> None:
    """Say in the middle of a panel that there is nothing to draw, and why."""
    axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", va="center", color=SOFT_INK)
    # Not set_xticks: a panel that shares its axis would take them from the others.
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    axes.grid(visible=False)
