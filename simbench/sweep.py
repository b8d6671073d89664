"""The axes of a sweep: keys of a scenario that take one value after another.

An axis whose name is a key holds that key's values, listed or each with a name. An axis with a name
of its own holds alternatives that each set several keys. All axes together span the points.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from simbench.dotted import place_of, replaced
from simbench.spec import Spec

S = TypeVar("S", bound=Spec)

JSON_SCHEMA: Final = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"type": "array", "minItems": 1, "items": {"not": {"type": ["array", "object"]}}},
            {"type": "object", "minProperties": 1},
        ]
    },
}
"""What an editor can know about a sweep; the rest is checked by running through its points."""


@dataclass(frozen=True)
class Axis:
    """One axis, its values as a scenario holds them."""

    name: str
    alternatives: Mapping[str, Mapping[str, Any]]
    """By name: dotted keys, and what lies there."""
    is_listed: bool
    """Whether these are the values of a key, without names: each is called what it is."""

    @property
    def keys(self) -> set[str]:
        """Every key that one of the alternatives sets."""
        return set().union(*self.alternatives.values())

    @property
    def numbers(self) -> list[float] | None:
        """The values, if they are listed and numbers (of ns, bit/s and so on)."""
        values = [settings.get(self.name) for settings in self.alternatives.values()]
        if not self.is_listed or not all(type(value) in (int, float) for value in values):
            return None
        return [float(value) for value in values if value is not None]


def points(axes: tuple[Axis, ...]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Yield each point: the name of its alternative on each axis, and the keys that it sets."""
    for names in itertools.product(*(axis.alternatives for axis in axes)):
        settings: dict[str, Any] = {}
        for axis, name in zip(axes, names, strict=True):
            settings |= axis.alternatives[name]
        yield {axis.name: name for axis, name in zip(axes, names, strict=True)}, settings


def applied(scenario: S, settings: Mapping[str, Any]) -> S:
    """Return ``scenario`` with the keys of a point set; all that they hold is valid."""
    for key, value in settings.items():
        scenario = replaced(scenario, place_of(key), value)
    return scenario


def written(
    axes: tuple[Axis, ...], tree_at: Callable[[Mapping[str, str]], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the axes as a file holds them.

    Args:
        axes: what to write.
        tree_at: gives the tree of the point where an axis has the alternative of this name, and
            every other axis its first.
    """
    section: dict[str, Any] = {}
    for axis in axes:
        trees = {name: tree_at({axis.name: name}) for name in axis.alternatives}
        if axis.keys != {axis.name}:
            section[axis.name] = {
                name: {key: _at(trees[name], place_of(key)) for key in settings}
                for name, settings in axis.alternatives.items()
            }
            continue
        values = {name: _at(tree, place_of(axis.name)) for name, tree in trees.items()}
        section[axis.name] = list(values.values()) if axis.is_listed else values
    return section


def _at(tree: Any, keys: tuple[str, ...]) -> Any:
    for each in keys:
        tree = tree[int(each)] if isinstance(tree, list) else tree[each]
    return tree
