"""Any optimiser of torch that works entry by entry, by its name."""

import functools
import inspect
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from torch import nn

from simbench.learning.optimizer import Optimizer
from simbench.spec import misfit, unknown_name

_NOT_OPTIONS = (
    "self",
    "params",
    "lr",
    "maximize",
    "foreach",
    "fused",
    "capturable",
    "differentiable",
)
"""The rate has a key of its own; the others say how to compute, or to go uphill."""


def _sorted_pairs(options: object) -> object:
    """Return a mapping as pairs, which can be hashed, as keys of what threads keep must be."""
    if isinstance(options, Mapping):
        return tuple(sorted((str(name), _hashable(each)) for name, each in options.items()))
    return options


def _hashable(option: object) -> object:
    return tuple(option) if isinstance(option, list) else option


Options = Annotated[
    tuple[tuple[str, Any], ...],
    BeforeValidator(_sorted_pairs, json_schema_input_type=dict[str, Any]),
    PlainSerializer(dict, return_type=dict[str, Any]),
    WithJsonSchema({"type": "object"}),
]


class TorchOptimizer(Optimizer):
    """An optimiser of ``torch.optim``: ``{name: RAdam, options: {betas: [0.9, 0.99]}}``.

    A node's parameters are one flat vector, and a step is taken piece by piece. Optimisers for
    which that makes a difference are refused: those that look at matrices (Muon), at all entries
    together (Adafactor), at sparse gradients, or at the loss itself (LBFGS).
    """

    kind: Literal["torch"] = "torch"
    name: str = Field(default="Adam", validate_default=True)
    """Its class in ``torch.optim``."""
    options: Options = ()
    """Keyword arguments of that class, except for the learning rate; by default torch's own."""

    @model_validator(mode="after")
    def _is_known_and_works(self) -> "TorchOptimizer":
        known = _classes()
        if self.name not in known:
            message = unknown_name(self.name, list(known), "optimiser of torch").message()
            raise misfit(("name",), message)
        options = [each for each in _parameters(known[self.name]) if each not in _NOT_OPTIONS]
        for name, _ in self.options:
            if name == "lr":
                raise misfit(("options", name), "is set by learning_rate")
            if name not in options:
                message = unknown_name(name, options, f"option of {self.name}").message()
                raise misfit(("options", name), message)
        try:
            whole, cut = (_after_steps(self.name, self.options, num) for num in (1, 2))
        except Exception as error:  # noqa: BLE001 - torch raises whatever it likes
            raise misfit(*self._explained(error)) from None
        if not torch.equal(whole, cut):
            raise misfit(
                ("name",),
                f"{self.name} doesn't work entry by entry, so on a flat vector of all parameters, "
                "of which each step takes pieces, it would be something else",
            )
        return self

    def _explained(self, error: Exception) -> tuple[tuple[str, ...], str]:
        """Return who is to blame for ``error``: the options if without them there is none."""
        try:
            _after_steps(self.name, (), 1)
        except Exception as own:  # noqa: BLE001
            return ("name",), f"{self.name} can't step on a flat vector: {own}"
        return ("options",), f"torch.optim.{self.name} refuses them: {error}"

    @property
    def state_vectors(self) -> int:
        """As many as torch's own state has after a step."""
        return _num_vectors(self.name, self.options)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimiser of torch."""
        made: torch.optim.Optimizer = _classes()[self.name](
            parameters, lr=self.learning_rate, **dict(self.options)
        )
        return made


@functools.cache
def _classes() -> dict[str, Any]:
    """Return the optimisers of torch by name."""
    return {
        name: member
        for name, member in inspect.getmembers(torch.optim, inspect.isclass)
        if issubclass(member, torch.optim.Optimizer) and member is not torch.optim.Optimizer
    }


def _parameters(optimizer: Any) -> list[str]:
    return list(inspect.signature(optimizer.__init__).parameters)


_PROBE = 6
"""Entries of the vector on which an optimiser is tried."""


def _stepped(name: str, options: tuple[tuple[str, Any], ...], num_pieces: int) -> Any:
    """Return pieces of a vector and their optimiser after steps along unlike entries."""
    dice = torch.Generator().manual_seed(0)
    point, *gradients = torch.randn(4, _PROBE, generator=dice) * torch.logspace(-2, 2, _PROBE)
    pieces = [nn.Parameter(piece.clone()) for piece in point.chunk(num_pieces)]
    optimizer = _classes()[name](pieces, lr=0.1, **dict(options))
    for gradient in gradients:
        for piece, slopes in zip(pieces, gradient.chunk(num_pieces), strict=True):
            piece.grad = slopes.clone()
        optimizer.step()
    return pieces, optimizer


@functools.cache
def _after_steps(name: str, options: tuple[tuple[str, Any], ...], num_pieces: int) -> torch.Tensor:
    pieces, _ = _stepped(name, options, num_pieces)
    return torch.cat([piece.detach() for piece in pieces])


@functools.cache
def _num_vectors(name: str, options: tuple[tuple[str, Any], ...]) -> int:
    (piece,), optimizer = _stepped(name, options, 1)
    kept = [each for each in optimizer.state[piece].values() if each is not None]
    return sum(isinstance(each, torch.Tensor) and each.dim() > 0 for each in kept)
