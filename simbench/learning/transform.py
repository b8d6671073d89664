"""What a gradient transformation is: a pure function of a gradient and of what it remembers.

A chain of them, in the manner of optax, stands where gradients leave a node (``task.gradient``) and
where they arrive at an optimiser (``transforms`` of any of them).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from torch import Tensor

from simbench.spec import Spec

Memory = dict[str, Tensor]
"""What a transformation remembers from one gradient to the next, by name; empty at first."""


class Transform(Spec, ABC):
    """A choice of transformation; its fields are the YAML keys."""

    kind: str

    draws: ClassVar[bool] = False
    """Whether it draws, so that each node has draws of its own."""
    needs_whole: ClassVar[bool] = False
    """Whether no entry of the result is known before all entries of the gradient are."""

    @property
    def state_vectors(self) -> int:
        """How many numbers it remembers per parameter."""
        return 0

    @abstractmethod
    def apply(
        self, gradient: Tensor, parameters: Tensor, memory: Memory, draw: np.random.Generator | None
    ) -> tuple[Tensor, Memory]:
        """Return what becomes of ``gradient``, and what to remember; no input is changed.

        Args:
            gradient: ``(n,)``, as the transformation before it left it.
            parameters: ``(n,)``, where the gradient was taken, or is about to be used.
            memory: what it returned the last time.
            draw: of this gradient alone, where it ``draws``.
        """


def apply_chain(
    chain: Sequence[Transform],
    gradient: Tensor,
    parameters: Tensor,
    memory: Memory,
    draw: Callable[[int], np.random.Generator],
) -> tuple[Tensor, Memory]:
    """Return what becomes of ``gradient`` in ``chain``, and what all of it remembers.

    ``draw`` makes the generator of the transformation at a place of the chain.
    """
    kept: Memory = {}
    for place, transform in enumerate(chain):
        mine = f"{place}."
        own = {name[len(mine) :]: each for name, each in memory.items() if name.startswith(mine)}
        own_draw = draw(place) if transform.draws else None
        gradient, own = transform.apply(gradient, parameters, own, own_draw)
        kept |= {mine + name: each for name, each in own.items()}
    return gradient, kept
