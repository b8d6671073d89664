"""The pure operations of compression: what ``Exchange`` asks for."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from simbench.execution.operation import PureOperation
from simbench.execution.values import Effort
from simbench.learning.compressor import Compression, Layout, Payload, Summable, Turn


def _turn(compression: Compression, rest: tuple[Any, ...]) -> Turn:
    """Return the turn that inputs behind the first tell: what was before, then rank and step."""
    rank, step = rest[-2:] if compression.draws else (0, 0)
    before = rest[0] if compression.remembers and rest else None
    return Turn(rank, step, before[-1] if isinstance(before, tuple) else before)


@dataclass(frozen=True)
class Encode(PureOperation):
    """The payload of a vector (n,); what it reads of a turn follows."""

    compression: Compression
    layout: Layout
    effort: ClassVar[Effort] = "medium"

    def __call__(self, vector: Tensor, *rest: Any) -> Payload:
        return self.compression.encode(vector, self.layout, _turn(self.compression, rest))


@dataclass(frozen=True)
class Decode(PureOperation):
    """The vector (n,) that a payload stands for."""

    compression: Compression
    layout: Layout

    def __call__(self, payload: Payload) -> Tensor:
        return self.compression.decode(payload, self.layout)


@dataclass(frozen=True)
class CountBytes(PureOperation):
    """How many bytes the payload of a vector (n,) will have."""

    compression: Compression
    layout: Layout

    def __call__(self, vector: Tensor) -> int:
        return self.compression.count_bytes(vector, self.layout)


@dataclass(frozen=True)
class Part(PureOperation):
    """Part ``number`` of a vector (n,), given the parts before; what it reads of a turn follows."""

    compression: Summable
    layout: Layout
    number: int
    effort: ClassVar[Effort] = "medium"

    def __call__(self, vector: Tensor, *rest: Any) -> Tensor:
        parts, turn = rest[: self.number], _turn(self.compression, rest[self.number :])
        return self.compression.part(vector, self.layout, turn, parts)


@dataclass(frozen=True)
class Join(PureOperation):
    """The vector (n,) that ``num_parts`` parts stand for; rank and step follow, if it draws."""

    compression: Summable
    layout: Layout
    num_parts: int

    def __call__(self, *rest: Any) -> Tensor:
        parts, turn = rest[: self.num_parts], _turn(self.compression, rest[self.num_parts :])
        return self.compression.join(parts, self.layout, turn.step)


@dataclass(frozen=True)
class Sign(PureOperation):
    """The sign of each entry; that of 0 is 0."""

    def __call__(self, vector: Tensor) -> Tensor:
        return torch.sign(vector)
