"""A model in parts: links of a chain, each of which several devices may work on side by side."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn


class Part(nn.Module, ABC):
    """What one device does of a link, with parameters of its own."""

    of_vocabulary: ClassVar[bool] = False
    """Whether its share is one of all tokens, and not one of a layer."""
    numbers: ClassVar[int] = 0
    """How many numbers of a token all parts make out of their own, each in an all-reduce.

    What parts give then stands apart in the sum: (..., numbers, parts). 0 where it is one term.
    """

    @abstractmethod
    def forward(self, x: Tensor | None, batch: tuple[Tensor, ...]) -> Tensor:
        """Return what it makes of ``x``, what the link before gave.

        The first link of all is given None, and the last one returns the loss of ``batch``.
        """

    @abstractmethod
    def slices(self, whole: nn.Module) -> Iterable[Tensor]:
        """Return what of the parameters of ``whole`` its own ones are, in their order."""


@dataclass(frozen=True)
class Link:
    """One function of the chain: the sum of what its ``parts`` give."""

    chunk: int
    """The piece of the model to which it belongs."""
    parts: Sequence[Part]


class InTurn(Part):
    """Several parts, one behind the other, as one."""

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor | None, batch: tuple[Tensor, ...]) -> Tensor:
        """Return what the last gives."""
        for part in self.parts:
            x = part(x, batch)
        assert x is not None, "there is at least one part"
        return x

    def slices(self, whole: nn.Module) -> Iterable[Tensor]:
        """Yield those of all parts."""
        for part in self.parts:
            assert isinstance(part, Part)
            yield from part.slices(whole)


def copy_without(module: Any, *names: str) -> Any:
    """Return a copy of ``module`` that lacks the parts ``names``."""
    # Shared, not copied, and then let go of.
    kept = {id(getattr(module, name)): getattr(module, name) for name in names}
    smaller = copy.deepcopy(module, kept)
    for name in names:
        delattr(smaller, name)
    return smaller
