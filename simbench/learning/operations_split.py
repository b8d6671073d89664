"""The pure operations of a gradient that several devices compute, each a part of the model."""

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from simbench.execution.identity import source_hash
from simbench.execution.values import Effort, Operation
from simbench.learning.model import Batch, Model
from simbench.learning.operations import Bench
from simbench.learning.split import Part
from simbench.learning.vectors import load


@dataclass(frozen=True)
class Split:
    """How a task's model and batch are split."""

    bench: Bench
    chunks: int
    """Pieces of the model in a row."""
    tensor: int
    """Parts of each layer."""
    microbatches: int
    """Equal parts of the batch."""

    def identify(self, operation: Operation) -> str:
        """Return the identity of an ``operation`` on this split."""
        # As Any, which mypy takes for hashable.
        kind: Any = type(operation)
        return self.bench.identify_batches(
            operation.name,
            split=[self.chunks, self.tensor, self.microbatches],
            source_of_operation=source_hash(kind),
        )

    def part(self, link: int, number: int, own: Tensor) -> tuple[Part, list[nn.Parameter]]:
        """Return this thread's own part with ``own`` as its parameters, and those in order."""
        task, device = self.bench.task, self.bench.device
        name = task.model, self.chunks, self.tensor, task.dtype, device
        if name not in _OWN.chains:
            chain = task.model.split(self.chunks, self.tensor)
            _OWN.chains[name] = [
                [part.to(device, task.torch_dtype) for part in each.parts] for each in chain
            ]
        part = _OWN.chains[name][link][number]
        parameters = list(part.parameters())
        load(parameters, own)
        return part, parameters

    def microbatch(self, rank: int, step: int, number: int) -> Batch:
        """Return micro-batch ``number`` of node ``rank``'s batch number ``step``, placed."""
        batch = self.bench.batch(rank, step)
        size = self.bench.task.samples_per_step // self.microbatches
        return tuple(each[number * size : (number + 1) * size] for each in batch)

    @property
    def places(self) -> Sequence[Sequence[Tensor]]:
        """Where the parameters of each link's parts stand in the flat vector, of int64."""
        return _places(self.bench.task.model, self.chunks, self.tensor)


class _Own(threading.local):
    """What belongs to one thread."""

    def __init__(self) -> None:
        self.chains: dict[tuple[Model, int, int, str, str], list[list[Part]]] = {}


_OWN = _Own()


@functools.lru_cache(maxsize=4)
def _places(model: Model, chunks: int, tensor: int) -> Sequence[Sequence[Tensor]]:
    """Return the places of all parts: slices of a model whose parameters are their own places."""
    whole = model.build().double()
    begin = 0
    for parameter in whole.parameters():
        end = begin + parameter.numel()
        parameter.data = torch.arange(begin, end, dtype=torch.float64).view_as(parameter)
        begin = end
    # A part without parameters has no slices to join.
    none = torch.empty(0, dtype=torch.int64)
    with torch.no_grad():
        return [
            [
                torch.cat([none, *(each.reshape(-1).long() for each in part.slices(whole))])
                for part in link.parts
            ]
            for link in model.split(chunks, tensor)
        ]


@dataclass(frozen=True)
class TakePart:
    """The parameters (k,) of part ``number`` of ``link``, out of all of them (n,)."""

    split: Split
    name = "take_part"
    effort: ClassVar[Effort] = "light"

    @functools.cached_property
    def identity(self) -> str:
        return self.split.identify(self)

    def __call__(self, parameters: Tensor, link: int, number: int) -> Tensor:
        return parameters[self.split.places[link][number].to(parameters.device)]


@dataclass(frozen=True)
class PartForward:
    """What a part with parameters (k,) makes of a micro-batch, and of what the link before gave."""

    split: Split
    name = "part_forward"
    effort: ClassVar[Effort] = "heavy"

    @functools.cached_property
    def identity(self) -> str:
        return self.split.identify(self)

    def __call__(self, own: Tensor, *given: Any) -> Tensor:
        *activations, rank, step, microbatch, link, number = given
        part, _ = self.split.part(link, number, own)
        batch = self.split.microbatch(rank, step, microbatch)
        with torch.no_grad():
            out: Tensor = part(activations[0] if activations else None, batch)
        return out


@dataclass(frozen=True)
class PartBackward:
    """Gradients of a part's parameters (k,), and of what the link before gave.

    It is given what ``PartForward`` was, and behind the activation the gradient of the loss by what
    the link gave; the last link is given none. The forward pass is computed again: an operation
    keeps nothing for another one.
    """

    split: Split
    name = "part_backward"
    effort: ClassVar[Effort] = "heavy"

    @functools.cached_property
    def identity(self) -> str:
        return self.split.identify(self)

    def __call__(self, own: Tensor, *given: Any) -> tuple[Tensor, ...]:
        *tensors, rank, step, microbatch, link, number = given
        part, sources = self.split.part(link, number, own)
        x = tensors.pop(0).detach().requires_grad_() if link else None
        out = part(x, self.split.microbatch(rank, step, microbatch))
        wanted = sources if x is None else [*sources, x]
        slopes = torch.autograd.grad(out, wanted, tensors or None, materialize_grads=True)
        # Of no parameters, too.
        of_parameters = torch.cat([own[:0], *(each.reshape(-1) for each in slopes[: len(sources)])])
        return of_parameters, *slopes[len(sources) :]
