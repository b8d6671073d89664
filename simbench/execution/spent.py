"""Inputs that may be overwritten: nobody but one operation can reach them any more.

A step of an optimiser makes new parameters and a new state, of which the old ones are most often
never read again. Whoever owns all recipes that there are, as an actor does, can tell by Python's
count of references, and spare the copies. What an operation returns must then be no view of what
it was given: two tensors that share their memory count as two.
"""

import sys
from collections.abc import Collection, Sequence
from typing import Any, Protocol, TypeGuard

import torch

from simbench.execution.values import Operation, Recipe


class Overwriting(Operation, Protocol):
    """An operation that can save copies."""

    def overwrite(self, spent: Sequence[bool], *inputs: Any) -> Any:
        """Return what a call does; inputs that are ``spent`` may be written into meanwhile."""
        ...


def overwrites(operation: Operation) -> TypeGuard[Overwriting]:
    """Whether ``operation`` can save copies."""
    return hasattr(operation, "overwrite")


def spent(recipe: Recipe) -> list[bool]:
    """Return which inputs of ``recipe`` nobody else refers to, neither to them nor to their parts.

    It must be its inputs' only way to be reached: nobody may look one up by its key.
    """
    inputs = recipe.inputs
    return [
        sys.getrefcount(inputs[index]) == _IN_A_TUPLE
        and sys.getrefcount(inputs[index].result) == _IN_A_SLOT
        and _are_held_once(inputs[index].result)
        for index in range(len(inputs))
    ]


def _are_held_once(result: Any) -> bool:
    parts: Collection[Any] = result.values() if isinstance(result, dict) else ()
    counts = list(map(sys.getrefcount, parts))
    return all(
        count == _IN_A_DICT
        for part, count in zip(parts, counts, strict=True)
        if isinstance(part, torch.Tensor)
    )


def _counts() -> tuple[int, int, int]:
    """Return the references to what only a tuple, a slot or a dict holds, as counted above."""
    one = (Recipe(None, (), (), b"", 0, 0),)  # type: ignore[arg-type]
    one[0].result = {"part": object()}
    index = 0
    (in_a_dict,) = map(sys.getrefcount, one[index].result.values())
    return sys.getrefcount(one[index]), sys.getrefcount(one[index].result), in_a_dict


_IN_A_TUPLE, _IN_A_SLOT, _IN_A_DICT = _counts()
