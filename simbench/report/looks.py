"""How a strategy and an activity look: the same on every figure, and never by colour alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Literal

import seaborn as sns

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "p")
_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (5, 1.6),
    (1.4, 1.2),
    (5, 1.4, 1.4, 1.4),
    (8, 2.5),
    (3, 1.2, 1.2, 1.2, 1.2, 1.2),
)


@dataclass(frozen=True)
class Look:
    """How one strategy is drawn."""

    colour: tuple[float, float, float]
    marker: str
    dashes: tuple[float, ...]
    """Lengths on and off in points; empty for an unbroken line."""

    @property
    def linestyle(self) -> Literal["-"] | tuple[int, tuple[float, ...]]:
        """The dashes as matplotlib takes them."""
        return (0, self.dashes) if self.dashes else "-"


@dataclass(frozen=True)
class Activity:
    """How one activity of a node is drawn."""

    label: str
    colour: str
    hatch: str


# Not the strategies' colours: an activity must not be taken for a strategy. From dark to light
# they also differ in grey.
ACTIVITIES = {
    "compute": Activity("compute", "#39465f", ""),
    "send": Activity("send", "#e0a23b", "////"),
    "receive": Activity("receive", "#79b4cf", "\\\\\\\\"),
    "send+receive": Activity("send and receive", "#b07aa1", "xxxx"),
    "wait": Activity("wait", "#e1e4e9", ""),
    "down": Activity("down", "#a3242c", "...."),
}


def activities(seen: Iterable[str]) -> dict[str, Activity]:
    """Return what a figure shows: being down only where a node was."""
    down = "down" in seen
    return {name: look for name, look in ACTIVITIES.items() if name != "down" or down}


def looks(strategies: Sequence[str]) -> dict[str, Look]:
    """Return the look of each strategy, by its place in the scenario."""
    # Above ten no palette is safe; markers and dashes then have to tell them apart.
    name = "colorblind" if len(strategies) <= 10 else "husl"
    colours = sns.color_palette(name, len(strategies))
    return {
        strategy: Look(
            (colours[place][0], colours[place][1], colours[place][2]),
            _MARKERS[place % len(_MARKERS)],
            _DASHES[place % len(_DASHES)],
        )
        for place, strategy in enumerate(strategies)
    }


def wrapped(name: str, width: int) -> str:
    """Return a name in lines of at most ``width`` characters, so that long names have room."""
    return fill(name, width)
