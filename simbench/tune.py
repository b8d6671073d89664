"""What a scenario says about tuning: which keys of its strategies, over which values, and where."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, ValidationError

from simbench.dotted import child, look_up, overlay, tree_of, unknown_key
from simbench.network.topology import Topology
from simbench.spec import OneOf, Spec, misfit
from simbench.strategy import Strategy

Scalar = str | bool | int | float
Values = Annotated[tuple[Scalar, ...], Field(min_length=1)]
"""What a key is tried with."""
Settings = Mapping[str, Any]
"""Dotted keys of a strategy, and what a file holds there."""


class Tune(Spec):
    """A search before the comparison: each strategy with each of these values, on one seed.

    The best is what reaches the target first, or else what ends at the lowest loss. Each strategy
    is searched over the keys that it has and for which the scenario gives it no value.
    """

    keys: dict[str, Values] = Field(default={})
    """The grid: keys of a strategy, such as ``learning_rate``, and the values to try."""
    strategies: dict[str, dict[str, Values]] = Field(default={})
    """The grids of single strategies, instead of ``keys``; an empty one is for none at all."""
    at: dict[str, str] = Field(default={})
    """The point of the sweep to search at: alternatives by axis. By default the first of each."""
    network: Annotated[Topology, OneOf("simbench.network.topologies")] | None = None
    """A network of the search's own, which isn't compared."""
    seed: NonNegativeInt = 100
    """The seed to search with; not one that is compared."""
    chosen: dict[str, dict[str, Scalar]] = Field(default={})
    """What a search has found; a run writes it down. What stands here isn't searched again."""

    def resolved(self, said: Mapping[str, Any], strategies: Mapping[str, Strategy]) -> "Tune":
        """Return the search with a grid for each strategy, none left to be worked out.

        Args:
            said: the strategies as the file says them.
            strategies: what it gives.

        Raises:
            ValidationError: a grid doesn't suit its strategy.
        """
        for name in (*self.strategies, *self.chosen):
            if name not in strategies:
                section = "strategies" if name in self.strategies else "chosen"
                raise misfit((section, name), unknown_key(name, strategies).errors()[0]["msg"])
        for key in self.keys:
            if not any(_has(strategy, key) for strategy in strategies.values()):
                raise misfit(("keys", key), f"no strategy has a key {key!r}")
        grids = {}
        for name, strategy in strategies.items():
            own = {
                key: values
                for key, values in self.keys.items()
                if _has(strategy, key) and _said(said[name], key) is None
            }
            for key, values in self.strategies.get(name, own).items():
                where = ("strategies", name) if name in self.strategies else ("keys",)
                _check_values(strategy, key, values, (*where, key))
            grids[name] = self.strategies.get(name, own)
            if name in self.chosen:
                _check_chosen(name, self.chosen[name], grids[name])
        if not any(grids.values()):
            raise misfit((), "nothing to search: no strategy is left with a key to tune")
        return self.model_copy(update={"keys": {}, "strategies": grids})

    def candidates(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield every choice of the grid of one strategy; none where nothing is left to search."""
        grid = self.strategies.get(name)
        if grid and name not in self.chosen:
            for values in itertools.product(*grid.values()):
                yield dict(zip(grid, values, strict=True))


def with_settings(strategy: Strategy, settings: Settings) -> Strategy:
    """Return ``strategy`` with some keys set.

    Raises:
        ValidationError: one of the values won't do.
    """
    tree = tree_of(strategy)
    for key, value in settings.items():
        tree = overlay(tree, strategy, tuple(key.split(".")), value)
    return type(strategy).model_validate(tree)


def _has(strategy: Strategy, key: str) -> bool:
    *above, last = key.split(".")
    holder = look_up(strategy, tuple(above))
    return isinstance(holder, Spec) and last in type(holder).model_fields


def _said(said: Any, key: str) -> Any:
    """Return what a file says for ``key`` of a strategy, or Python did; None if nothing."""
    for each in key.split("."):
        if isinstance(said, Spec) and each not in said.model_fields_set:
            return None
        said = child(said, each)
    return said


def _check_values(
    strategy: Strategy, key: str, values: tuple[Any, ...], where: tuple[str, ...]
) -> None:
    if not _has(strategy, key):
        *above, last = key.split(".")
        holder = look_up(strategy, tuple(above))
        raise misfit(where, unknown_key(last, holder).errors()[0]["msg"])
    for index, value in enumerate(values):
        if value in values[:index]:
            raise misfit((*where, index), f"each counts once; {value} is there already")
        try:
            with_settings(strategy, {key: value})
        except ValidationError as error:
            first = error.errors()[0]
            message = f"{first['msg']}; got {value!r}".replace("Input should be", "expected")
            raise misfit((*where, index), message) from None


def _check_chosen(name: str, chosen: Settings, grid: Mapping[str, tuple[Any, ...]]) -> None:
    if chosen.keys() != grid.keys() or any(chosen[key] not in grid[key] for key in grid):
        raise misfit(("chosen", name), f"isn't a choice of its grid: {dict(chosen)}")
