"""What a model is: a module, how its parameters start, and the loss of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from simbench.learning.split import Link, Part
from simbench.spec import Spec, misfit

Batch = tuple[Tensor, ...]
"""Tensors whose first axis is the sample; dataset and model agree on what they mean."""

Form = Literal[
    "features", "tokens", "masked tokens", "labelled tokens", "images and tokens", "noise"
]
"""What a batch of B samples is made of:

``features``: (B, length) floats and (B,) labels;
``tokens``: (B, length) tokens and the (B, length) tokens that follow each;
``masked tokens``: (B, length) tokens, and those that stood where some are masked;
``labelled tokens``: (B, length) tokens and (B,) labels;
``images and tokens``: (B, features) floats, (B, length) tokens and (B,) labels;
``noise``: (B, length) floats and the (B,) ranks of nodes.
A target of ``IGNORED`` isn't to be predicted.
"""

IGNORED = -100
"""As torch's cross-entropy has it."""


class Model(Spec, ABC):
    """A choice of model; its fields are the YAML keys."""

    kind: str

    @property
    @abstractmethod
    def takes(self) -> Form:
        """The form of data it reads; a dataset ``yields`` one."""

    @property
    @abstractmethod
    def length(self) -> int:
        """How many numbers make one sample: tokens of a sequence, entries of a vector."""

    @property
    def num_features(self) -> int | None:
        """How many entries a vector that it reads has; None where it reads none."""
        return self.length if self.takes == "features" else None

    @property
    def num_tokens(self) -> int | None:
        """How many different tokens it knows; None where it reads none."""
        return None

    @property
    def num_classes(self) -> int | None:
        """How many labels it tells apart; None where it tells none."""
        return None

    @property
    def is_language_model(self) -> bool:
        """Whether its loss is the mean surprise at a token, so that its exponential says something.

        That is the perplexity.
        """
        return self.takes in ("tokens", "masked tokens")

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the module; the values of its parameters don't matter yet."""

    @abstractmethod
    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Give the parameters their first values, drawn from ``generator``."""

    @abstractmethod
    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss over the samples of ``batch``, a scalar."""

    def evaluate(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return the loss and, where it means something, the accuracy, from 0 to 1."""
        return self.loss(module, batch), None

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


class Predictor(Model, ABC):
    """A model that tells tokens or classes apart; the last tensor of a batch holds them."""

    def logits(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return a score for each token or class, (..., classes), for targets of shape (...).

        By default the module is given all of the batch but the targets.
        """
        logits: Tensor = module(*batch[:-1])
        return logits

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the targets, in nats."""
        return cross_entropy(self.logits(module, batch), batch[-1])

    def evaluate(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy, and the share of targets with the highest score."""
        logits = self.logits(module, batch)
        return cross_entropy(logits, batch[-1]), accuracy(logits, batch[-1])


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean surprise, in nats, of ``targets`` (...) at ``logits`` (..., classes)."""
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the share of ``targets`` (...) that have the highest of ``logits`` (..., classes).

    Of several that are as high, it is the first.
    """
    counted = targets != IGNORED
    return ((_likeliest(logits) == targets) & counted).sum() / counted.sum()


_is_mapped: Any = torch._C._functorch.is_functorch_wrapped_tensor  # noqa: SLF001
"""Whether a tensor stands for one of several, each of which is done the same with."""


def _likeliest(logits: Tensor) -> Tensor:
    if logits.is_cpu and logits.dtype in (torch.float32, torch.float64) and not _is_mapped(logits):
        # NumPy's takes a fifteenth of the time of torch's: a fifth of an evaluation.
        return torch.from_numpy(logits.detach().numpy().argmax(-1))
    return logits.argmax(-1)
