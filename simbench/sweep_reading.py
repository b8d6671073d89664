"""Reads the section ``sweep`` of a file: every point is tried, and an error told where it arose."""

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails

from simbench.dotted import look_up, overlay, place_of, tree_of, unknown_key
from simbench.spec import Spec, dump_by_contents, misfit, moved
from simbench.sweep import Axis

_EVERYWHERE: Final = ("name", "strategies", "seeds", "sweep", "tune")
"""Keys that say what is compared, and how often: the same at every point."""

S = TypeVar("S", bound=Spec)
Where = tuple[str | int, ...]


class _Alternative(NamedTuple):
    where: Where
    settings: Mapping[str, Any]
    is_key: bool
    """Whether the axis is a key, and this its value."""

    def place(self, key: str) -> Where:
        """Return where in the section the value of ``key`` stands."""
        return self.where if self.is_key else (*self.where, key)

    def keys(self, key: str) -> tuple[str, ...]:
        """Return where in the scenario it belongs; a ``kind`` may bring all that it holds."""
        whole = isinstance(self.settings[key], Mapping)
        return place_of(key) if whole else tuple(key.split("."))


_Axes = Mapping[str, list[_Alternative]]


def read_axes(
    section: Any, tree: Mapping[str, Any], base: S, validate: Callable[[Mapping[str, Any]], S]
) -> tuple[Axis, ...]:
    """Return the axes that a ``section`` says, once every point of them has proved valid.

    Args:
        section: what the file holds.
        tree: the rest of the file.
        base: the scenario that the rest alone gives.
        validate: makes a scenario of a tree.

    Raises:
        ValidationError: at the place in the section that is to blame.
    """
    if not isinstance(section, Mapping):
        got = list(section) if isinstance(section, tuple) else section
        raise misfit((), f"expected a mapping of axes; got {got!r}")
    section = {str(name): tree_of(held) for name, held in section.items()}
    axes = {name: _alternatives(name, held, base) for name, held in section.items()}
    _check_order(axes)
    found: dict[Where, S] = {}
    for chosen in itertools.product(*axes.values()):
        point = _point(chosen, tree, base, validate)
        for alternative in chosen:
            found.setdefault(alternative.where, point)
    return tuple(
        _axis(name, isinstance(section[name], tuple), [(a, found[a.where]) for a in alternatives])
        for name, alternatives in axes.items()
    )


def _alternatives(name: str, held: Any, base: Spec) -> list[_Alternative]:
    if not isinstance(held, (tuple, Mapping)) or not held:
        raise misfit((name,), f"expected a list of values, or alternatives by name; got {held!r}")
    is_key = name.partition(".")[0] in type(base).model_fields
    items: list[tuple[str | int, Any]] = list(
        enumerate(held) if isinstance(held, tuple) else held.items()
    )
    if is_key or isinstance(held, tuple):
        _check_key(name, (name,), base)
    found = []
    for key, value in items:
        where: Where = (name, key)
        if isinstance(held, tuple) and isinstance(value, (tuple, Mapping)):
            raise misfit(where, "has no name here: say NAME: VALUE, for each value of this axis")
        if not is_key and (not isinstance(value, Mapping) or not value):
            raise misfit(where, f"expected keys of the scenario and their values; got {value!r}")
        if not is_key:
            for each in value:
                _check_key(str(each), (*where, str(each)), base)
        found.append(_Alternative(where, {name: value} if is_key else value, is_key))
    return found


def _check_key(key: str, where: Where, base: Spec) -> None:
    first = key.partition(".")[0]
    if first not in type(base).model_fields:
        raise misfit(where, unknown_key(first, base).errors()[0]["msg"])
    if key in _EVERYWHERE or (first in _EVERYWHERE and first != "strategies"):
        raise misfit(where, f"{first} must be the same at every point")


def _check_order(axes: _Axes) -> None:
    """Refuse an axis that would undo what an earlier one says."""
    keys = {name: {key for each in axis for key in each.settings} for name, axis in axes.items()}
    for earlier, later in itertools.combinations(axes, 2):
        for one, other in itertools.product(sorted(keys[earlier]), sorted(keys[later])):
            mine, theirs = place_of(one), place_of(other)
            if mine == theirs:
                raise misfit((later,), f"{earlier} sets {one} already")
            if mine[: len(theirs)] == theirs:
                raise misfit((later,), f"replaces all of {other}: it must stand before {earlier}")


def _point(
    chosen: tuple[_Alternative, ...],
    tree: Mapping[str, Any],
    base: S,
    validate: Callable[[Mapping[str, Any]], S],
) -> S:
    for alternative in chosen:
        for key, value in alternative.settings.items():
            try:
                tree = overlay(tree, base, alternative.keys(key), value)
            except ValidationError as error:
                message = error.errors()[0]["msg"]
                raise misfit(alternative.place(key), message) from None
    try:
        return validate(tree)
    except ValidationError as error:
        lines = [_moved(each, chosen) for each in error.errors()]
    raise ValidationError.from_exception_data("sweep", lines)


def _moved(error: ErrorDetails, chosen: tuple[_Alternative, ...]) -> InitErrorDetails:
    """Return an error of a point at the place in the section that is to blame."""
    location = [*error["loc"]]
    if error["type"] == "unknown_name" and error["ctx"]["what"] == "key":
        location.append(error["ctx"]["key"])
    # The innermost key is the one that was laid over the others.
    settings = [(each, key) for each in chosen for key in each.settings]
    for alternative, key in sorted(settings, key=lambda pair: -len(pair[0].keys(pair[1]))):
        rest = _after(location, alternative.keys(key))
        if rest is not None:
            return moved(error, (*alternative.place(key), *rest))
    # None of them is wrong by itself, but they don't fit what stays.
    names = ", ".join(f"{axis} {name}" for axis, name in (each.where for each in chosen))
    message = f"at the point {names}: {'.'.join(map(str, error['loc']))}: {error['msg']}"
    return moved({"type": "misfit", "loc": (), "msg": message, "input": None}, ())


def _after(location: list[str | int], keys: tuple[str, ...]) -> Where | None:
    """Return what follows ``keys`` in a location, where kinds may stand between them."""
    left = [*keys]
    for index, part in enumerate(location):
        if str(part) == left[0]:
            del left[0]
        if not left:
            return tuple(location[index + 1 :])
    return None


def _axis(name: str, is_listed: bool, found: list[tuple[_Alternative, Spec]]) -> Axis:
    """Return an axis with the values that scenarios hold, each by its name."""
    alternatives: dict[str, dict[str, Any]] = {}
    for alternative, point in found:
        label = str(alternative.where[1])
        if is_listed:
            # By contents: the name of a listed file would differ from place to place.
            value = look_up(tree_of(dump_by_contents(point)), tuple(name.split(".")))
            label = value if isinstance(value, str) else json.dumps(value)
        if label in alternatives:
            raise misfit(alternative.where, f"each counts once; {label} is there already")
        alternatives[label] = {key: look_up(point, place_of(key)) for key in alternative.settings}
    # A kind brings other keys along, which have to be written with its name.
    return Axis(name, alternatives, is_listed and not name.endswith(".kind"))
