"""What the parts of a model weigh: parameters, work and what they hand on; nothing is computed."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from simbench.learning.model import Batch
from simbench.learning.split import Link
from simbench.learning.task import Task
from simbench.seeds import generator


class LinkCost(NamedTuple):
    """One link of a model's chain: see ``learning.split``."""

    chunk: int
    part_entries: tuple[int, ...]
    """Parameters of each part."""
    share: float
    """Of the FLOPs of the whole model, forward and backward: those of the part with most."""
    sample_bytes: int
    """What it gives for one sample."""
    of_vocabulary: bool = False
    """Whether its parts share all tokens, and not a layer."""
    forward_sums: tuple[int, ...] = ()
    """Bytes of one sample in each all-reduce over its parts, in a forward pass."""
    backward_sums: tuple[int, ...] = ()
    """The same in a backward pass: of the gradient of what goes into it."""


@functools.lru_cache(maxsize=16)
def link_costs(task: Task, chunks: int, tensor: int) -> tuple[LinkCost, ...]:
    """Return the costs of all links of ``task``'s model in so many pieces and parts.

    Raises:
        ValidationError: the model can't be split so; made by ``spec.misfit``.
    """
    with torch.device("meta"):
        chain = task.model.split(chunks, tensor)
        for part in (part for link in chain for part in link.parts):
            part.to(task.torch_dtype)
    entries = [
        tuple(sum(p.numel() for p in part.parameters()) for part in link.parts) for link in chain
    ]
    if chunks == tensor == 1:
        return (LinkCost(0, entries[0], 1.0, 0),)
    batch = _batch_on_meta(task)
    whole_flops = _flops(lambda: task.model.loss(_built(task), batch))
    costs, x, entering_bytes = [], None, 0
    for link, sizes in zip(chain, entries, strict=True):
        if x is not None:
            x = x.detach().requires_grad_()
        flops = max(_flops(functools.partial(part, x, batch)) for part in link.parts)
        x = link.parts[0](x, batch)
        sample_bytes = x.numel() * x.element_size() // task.batch_size if x.dim() else 0
        cost = LinkCost(link.chunk, sizes, flops / whole_flops, sample_bytes)
        if len(link.parts) > 1:
            cost = _with_sums(cost, link, entering_bytes)
        costs.append(cost)
        entering_bytes = sample_bytes
    return tuple(costs)


def _with_sums(cost: LinkCost, link: Link, entering_bytes: int) -> LinkCost:
    """Return the ``cost`` of several parts, with what they all-reduce."""
    first = link.parts[0]
    forward: tuple[int, ...] = (cost.sample_bytes,)
    if first.numbers:
        forward = (cost.sample_bytes // (first.numbers * len(link.parts)),) * first.numbers
    return cost._replace(
        of_vocabulary=first.of_vocabulary,
        forward_sums=forward,
        backward_sums=(entering_bytes,) if entering_bytes else (),
    )


def _built(task: Task) -> torch.nn.Module:
    with torch.device("meta"):
        return task.model.build().to(task.torch_dtype)


def _batch_on_meta(task: Task) -> Batch:
    """Return a batch of the right shapes and types, without numbers."""
    batch = task.batch(generator(0, "flops", 0, 0), 0, (1,), task.batch_size)
    return tuple(
        each.to("meta", task.torch_dtype if each.is_floating_point() else None) for each in batch
    )


def _flops(forward: Callable[[], Any]) -> int:
    """Return the FLOPs of ``forward`` and of the backward pass of what it returns."""
    # As ``Task.step_flops`` counts them.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward().sum().backward()
    return int(counter.get_total_flops())
