"""What a compression is: how a vector becomes a payload of fewer bytes, and a vector again."""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simbench.seeds import generator
from simbench.spec import Spec

Payload = tuple[Any, ...]
"""What is sent: tensors, and whole numbers of a message's head, such as a step, at no cost."""


def payload_bytes(payload: Payload) -> int:
    """Return the bytes of the tensors in ``payload``."""
    return sum(each.nbytes for each in payload if isinstance(each, Tensor))


@dataclass(frozen=True)
class Layout:
    """What is compressed: a flat vector of a model's tensors, one behind the other."""

    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    seed: int
    """Of what is drawn."""

    @functools.cached_property
    def length(self) -> int:
        """Entries of the vector."""
        return sum(map(math.prod, self.shapes))

    @property
    def vector_bytes(self) -> int:
        """Bytes of the vector as it is."""
        return self.length * self.dtype.itemsize

    def piece(self, length: int) -> "Layout":
        """Return the layout of so many entries in a row, which belong to whatever tensors."""
        return replace(self, shapes=((length,),))

    def matrix(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Return rows and columns of a tensor as a matrix, o x i*k*k of a convolution's.

        None if it has fewer than two axes.
        """
        return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else None

    def tensors(self, vector: Tensor) -> list[Tensor]:
        """Return the model's tensors, flat views of ``vector``."""
        return list(torch.split(vector, [math.prod(shape) for shape in self.shapes]))

    def draw(self, purpose: str, rank: int, step: int) -> np.random.Generator:
        """Return the generator of what a compression draws."""
        return generator(self.seed, f"compression {purpose}", rank, step)


@dataclass(frozen=True)
class Turn:
    """Whose vector is compressed and when, for a compression that ``draws`` or ``remembers``."""

    rank: int = 0
    step: int = 0
    """How many exchanges this node has begun before."""
    before: Tensor | None = None
    """The last tensor of the exchange before, or of the payload before; None the first time."""


class Compression(Spec, ABC):
    """A choice of compression; its fields are the YAML keys.

    Each node sends its payload to whom it concerns, to all others by all-gather, and who gets it
    decodes it.
    """

    kind: str
    error_feedback: bool
    """Whether what a payload leaves out is kept, and added to the next vector."""

    reads_tensors: ClassVar[bool] = False
    """Whether it looks at the model's tensors, so that a piece of the vector alone won't do."""

    @property
    def residual_weight(self) -> float:
        """What is kept counts so much the next time."""
        return 1.0

    @property
    def draws(self) -> bool:
        """Whether it reads rank and step of the turn."""
        return False

    @property
    def remembers(self) -> bool:
        """Whether it reads what was sent in the turn before."""
        return False

    @property
    def takes_sign(self) -> bool:
        """Whether whoever has averaged what all have sent goes on with the sign of the mean."""
        return False

    @property
    def exaggerates(self) -> bool:
        """Whether what is decoded is larger than what was given, in part, to be right on average.

        The difference from what was given can then be larger than that itself.
        """
        return False

    @property
    def keeps_scale(self) -> bool:
        """Whether what is decoded is of the size of what was given; a bare sign isn't."""
        return not self.takes_sign

    @abstractmethod
    def payload_bytes(self, layout: Layout) -> int | None:
        """Return the bytes of any payload; None if they depend on the vector."""

    def count_bytes(self, vector: Tensor, layout: Layout) -> int:
        """Return the bytes of the payload of ``vector``, where they depend on it."""
        raise NotImplementedError

    @abstractmethod
    def encode(self, vector: Tensor, layout: Layout, turn: Turn) -> Payload:
        """Return the payload of ``vector``, of shape (layout.length,)."""

    @abstractmethod
    def decode(self, payload: Payload, layout: Layout) -> Tensor:
        """Return the vector that ``payload`` stands for."""


class Summable(Compression, ABC):
    """A compression whose payloads can be added up, so that they are all-reduced.

    A payload has one part or several, one all-reduce after the other: a part may depend on the
    mean of those before it.
    """

    @abstractmethod
    def part_bytes(self, layout: Layout) -> tuple[int, ...]:
        """Return the bytes of each part."""

    @abstractmethod
    def part(self, vector: Tensor, layout: Layout, turn: Turn, parts: Sequence[Tensor]) -> Tensor:
        """Return the next part of ``vector``'s payload: linear in it, given the ``parts`` before.

        These are the means over all who take part.
        """

    @abstractmethod
    def join(self, parts: Sequence[Tensor], layout: Layout, step: int) -> Tensor:
        """Return the vector that ``parts`` stand for, linear in the last of them."""

    def payload_bytes(self, layout: Layout) -> int:
        """Return the bytes of all parts."""
        return sum(self.part_bytes(layout))

    def encode(self, vector: Tensor, layout: Layout, turn: Turn) -> Payload:
        """Return step and parts, as they are without others: for a message to a server."""
        parts: list[Tensor] = []
        for _ in self.part_bytes(layout):
            parts.append(self.part(vector, layout, turn, parts))
        return (turn.step, *parts)

    def decode(self, payload: Payload, layout: Layout) -> Tensor:
        """Return the vector that step and parts stand for."""
        step, *parts = payload
        return self.join(parts, layout, step)
