"""Activation checkpointing: blocks that compute their insides twice and keep them once less."""

import functools

from torch import nn
from torch.utils.checkpoint import checkpoint


def blocks(module: nn.Module) -> list[nn.Module]:
    """Return the blocks of ``module``: what its outermost lists and sequences hold."""
    if isinstance(module, nn.ModuleList | nn.Sequential):
        return list(module)
    return [block for child in module.children() for block in blocks(child)]


def checkpoint_blocks(module: nn.Module) -> None:
    """Let each block keep only its input for the backward pass, which computes the rest again.

    Source:
        Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, arXiv:1604.06174,
        section 4 (a segment per block).
    """
    for block in blocks(module):
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
