"""What a model is: a module, how its parameters start, and the loss of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from simbench.learning.split import Link, Part
from simbench.spec import Spec, misfit

Batch = tuple[Tensor, ...]
"""Tensors whose first axis is the sample; dataset and model agree on what they mean."""


class Model(Spec, ABC):
    """A choice of model; its fields are the YAML keys."""

    kind: str
    takes: ClassVar[str]
    """The form of data it reads; a dataset ``yields`` one."""

    @property
    @abstractmethod
    def length(self) -> int:
        """How many numbers make one sample: tokens of a sequence, entries of a vector."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the module; the values of its parameters don't matter yet."""

    @abstractmethod
    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Give the parameters their first values, drawn from ``generator``."""

    @abstractmethod
    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss over the samples of ``batch``, a scalar."""

    def split(self, stages: int, tensor: int) -> Sequence[Link]:
        """Return the model as a chain of ``stages`` pieces, its layers in ``tensor`` parts.

        By default it can't be split, and one piece in one part is the model.

        Raises:
            ValidationError: it can't be split so; made by ``spec.misfit``, with the key of
                ``parallel`` that says so.
        """
        for key, count in (("pipeline", stages), ("tensor", tensor)):
            if count > 1:
                raise misfit((key,), f"model {self.kind} can't be split so")
        return [Link(0, [Whole(self)])]


class Whole(Part):
    """A model as one part."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.module = model.build()

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        """Return the loss of ``batch``."""
        return self.model.loss(self.module, batch)

    def slices(self, whole: nn.Module) -> Iterable[Tensor]:
        """Return all parameters."""
        return whole.parameters()
