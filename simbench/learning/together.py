"""Several gradients, losses or steps as one call: torch's vmap over parameters and batches.

A sum is then added up in another order than one by one, so the last bits differ.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from simbench.learning.model import Batch
from simbench.learning.operations_step import OptimizerState

ModelLoss = Callable[[nn.Module, Batch], Tensor]

_functorch: Any = torch._C._functorch  # noqa: SLF001


class _Whole(nn.Module):
    """What is made of a module and a batch as a module, whose parameters can be swapped."""

    def __init__(self, make: Callable[[nn.Module, Batch], Any], module: nn.Module) -> None:
        super().__init__()
        self.make = make
        self.module = module

    def forward(self, *batch: Tensor) -> Any:
        return self.make(self.module, batch)


def losses(loss: ModelLoss, module: nn.Module, vectors: Sequence[Tensor], batches: Batch) -> Tensor:
    """Return the losses (k,) of k batches, each at its own vector (n,) of parameters.

    Args:
        loss: the loss of a module and a batch.
        module: has the parameters' names and shapes; their values don't matter.
        vectors: k of them; if they are all one, it is read once.
        batches: k of them, stacked.

    Raises:
        RuntimeError: vmap can't do it, or could only with a loop.
    """
    found: Tensor = _mapped(_at_vector(loss, module), vectors, batches)
    return found


def gradients(
    loss: ModelLoss, module: nn.Module, vectors: Sequence[Tensor], batches: Batch
) -> Tensor:
    """Return the gradients (k, n) of what ``losses`` returns, each by its own vector.

    The losses are mapped, not their gradients: the way back then knows nothing of vmap, which
    takes its time with every operation.
    """
    many = vectors[0].expand(len(vectors), -1) if _are_one(vectors) else torch.stack(list(vectors))
    point = many.detach().requires_grad_()
    with _without_loops():
        told: Tensor = vmap(_at_vector(loss, module))(point, *batches)
    (found,) = torch.autograd.grad(told.sum(), point)
    return found


def evaluations(
    evaluate: Callable[[nn.Module, Batch], tuple[Tensor, Tensor | None]],
    module: nn.Module,
    vectors: Sequence[Tensor],
    batches: Batch,
) -> tuple[Tensor, Tensor | None]:
    """Return the k losses and, where there are any, accuracies that ``evaluate`` finds."""

    def there(module: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
        return tuple(each for each in evaluate(module, batch) if each is not None)

    found = _mapped(_at_vector(there, module), vectors, batches)
    return found[0], found[1] if len(found) > 1 else None


def _at_vector(make: Callable[[nn.Module, Batch], Any], module: nn.Module) -> Callable[..., Any]:
    whole = _Whole(make, module)
    named = dict(whole.named_parameters())
    sizes = [each.numel() for each in named.values()]

    def at(vector: Tensor, *batch: Tensor) -> Any:
        pieces = zip(named.items(), torch.split(vector, sizes), strict=True)
        point = {name: piece.view(each.shape) for (name, each), piece in pieces}
        return functional_call(whole, point, batch)

    return at


def _are_one(vectors: Sequence[Tensor]) -> bool:
    return all(vector is vectors[0] for vector in vectors)


def _mapped(of_one: Callable[..., Any], vectors: Sequence[Tensor], batches: Batch) -> Any:
    shared = _are_one(vectors)
    point = vectors[0] if shared else torch.stack(list(vectors))
    axes = (None if shared else 0, *(0 for _ in batches))
    with _without_loops():
        return vmap(of_one, in_dims=axes)(point, *batches)


@contextmanager
def _without_loops() -> Iterator[None]:
    """Have vmap refuse what it would loop over, and attention done by products, which it knows."""
    loops = _functorch._is_vmap_fallback_enabled()  # noqa: SLF001
    _functorch._set_vmap_fallback_enabled(False)  # noqa: SLF001
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        _functorch._set_vmap_fallback_enabled(loops)  # noqa: SLF001


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
