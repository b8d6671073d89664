"""A module as one flat vector: its parameters are views of it, and so are their gradients."""

import torch
from torch import Tensor, nn


def flatten(module: nn.Module) -> Tensor:
    """Return a new flat vector of the parameters of ``module``, in their order."""
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def load(module: nn.Module, vector: Tensor) -> None:
    """Make the parameters of ``module`` views of ``vector``; nothing is copied."""
    offset = 0
    for parameter in module.parameters():
        end = offset + parameter.numel()
        parameter.data = vector[offset:end].view(parameter.shape)
        offset = end


def attach_gradient(module: nn.Module) -> Tensor:
    """Return a flat vector of zeros to which ``backward`` adds the gradients of ``module``."""
    first = next(module.parameters())
    num_entries = sum(parameter.numel() for parameter in module.parameters())
    vector = torch.zeros(num_entries, dtype=first.dtype, device=first.device)
    offset = 0
    for parameter in module.parameters():
        end = offset + parameter.numel()
        parameter.grad = vector[offset:end].view(parameter.shape)
        offset = end
    return vector
