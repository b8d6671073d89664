"""A module as one flat vector: its parameters are views of it.

Cutting and joining go through torch's own helpers, which its distributed package uses: one call
for all tensors. In a pool of threads, each call is a chance to wait for Python's lock.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, _utils, nn

_cut: Any = _utils._unflatten_dense_tensors  # noqa: SLF001
_join: Any = _utils._flatten_dense_tensors  # noqa: SLF001


def flatten(module: nn.Module) -> Tensor:
    """Return a new flat vector of the parameters of ``module``, in their order."""
    vector: Tensor = _join([parameter.detach().clone() for parameter in module.parameters()])
    return vector


def load(parameters: Sequence[nn.Parameter], vector: Tensor) -> None:
    """Make ``parameters`` views of ``vector``, one behind the other; nothing is copied."""
    for parameter, piece in zip(parameters, _cut(vector, parameters), strict=True):
        parameter.data = piece


def gradient_of(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the gradient of ``loss`` as a new flat vector; zeros where a parameter has no part."""
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    vector: Tensor = _join(gradients)
    return vector
