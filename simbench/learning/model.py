"""What a model is: a module, how its parameters start, and the loss of a batch."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from simbench.spec import Spec

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
