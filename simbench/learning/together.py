"""Several gradients, losses or steps as one call: torch's vmap over parameters and batches.

A sum is then added up in another order than one by one, so the last bits differ.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from simbench.learning.model import Batch
from simbench.learning.operations_step import OptimizerState

ModelLoss = Callable[[nn.Module, Batch], Tensor]


class _Loss(nn.Module):
    """A module's loss as a module, whose parameters can then be swapped for a call."""

    def __init__(self, loss: ModelLoss, module: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self.module = module

    def forward(self, *batch: Tensor) -> Tensor:
        return self.loss(self.module, batch)


def losses(loss: ModelLoss, module: nn.Module, vectors: Sequence[Tensor], batches: Batch) -> Tensor:
    """Return the losses (k,) of k batches, each at its own vector (n,) of parameters.

    Args:
        loss: the loss of a module and a batch.
        module: has the parameters' names and shapes; their values don't matter.
        vectors: k of them; if they are all one, it is read once.
        batches: k of them, stacked.
    """
    return _mapped(_at_vector(loss, module), vectors, batches)


def gradients(
    loss: ModelLoss, module: nn.Module, vectors: Sequence[Tensor], batches: Batch
) -> Tensor:
    """Return the gradients (k, n) of what ``losses`` returns, each by its own vector."""
    return _mapped(grad(_at_vector(loss, module)), vectors, batches)


def _at_vector(loss: ModelLoss, module: nn.Module) -> Callable[..., Tensor]:
    whole = _Loss(loss, module)
    named = dict(whole.named_parameters())
    sizes = [each.numel() for each in named.values()]

    def at(vector: Tensor, *batch: Tensor) -> Tensor:
        pieces = zip(named.items(), torch.split(vector, sizes), strict=True)
        point = {name: piece.view(each.shape) for (name, each), piece in pieces}
        told: Tensor = functional_call(whole, point, batch)
        return told

    return at


def _mapped(of_one: Callable[..., Tensor], vectors: Sequence[Tensor], batches: Batch) -> Tensor:
    shared = all(vector is vectors[0] for vector in vectors)
    point = vectors[0] if shared else torch.stack(list(vectors))
    axes = (None if shared else 0, *(0 for _ in batches))
    with _plain_attention():
        mapped: Tensor = vmap(of_one, in_dims=axes)(point, *batches)
    return mapped


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Have attention computed as products and a softmax: vmap would loop over fused kernels."""
    allow = torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    # Else bfloat16 would go by way of float32, whose gradients autocast and vmap mix up.
    allow(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        allow(before)


Stepped = tuple[Tensor, OptimizerState]


def steps(
    step: Callable[[Tensor, OptimizerState, Tensor], Stepped],
    calls: Sequence[tuple[Tensor, OptimizerState, Tensor]],
) -> list[Stepped]:
    """Return what ``step``, which works entry by entry, makes of each of ``calls``, in one step.

    What isn't a vector in their states, such as a counter, must be the same in all.
    """
    parameters, states, slopes = zip(*calls, strict=True)
    lengths = [len(each) for each in parameters]
    joined = {
        name: torch.cat([state[name] for state in states]) if each.dim() else each
        for name, each in states[0].items()
    }
    stepped, after = step(torch.cat(parameters), joined, torch.cat(slopes))
    cut = {name: torch.split(each, lengths) for name, each in after.items() if each.dim()}
    # Copies, since a view would keep all of them alive.
    return [
        (
            piece.clone(),
            {
                name: cut[name][place].clone() if name in cut else each
                for name, each in after.items()
            },
        )
        for place, piece in enumerate(torch.split(stepped, lengths))
    ]


def scalars(state: OptimizerState) -> tuple[tuple[str, float | None], ...]:
    """Return the names of ``state``, and the values of what isn't a vector."""
    return tuple((name, None if each.dim() else float(each)) for name, each in state.items())
