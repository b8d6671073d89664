"""The task: what is trained, on what, by which optimiser."""

import functools
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import PositiveInt, model_validator
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from simbench.learning.dataset import Dataset, Endless, Samples
from simbench.learning.datasets.text import Text
from simbench.learning.fit import misfit_of
from simbench.learning.model import Batch, Model
from simbench.learning.models.gpt import GPT
from simbench.learning.optimizer import Optimizer
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.sharding import Listing, Shard, Sharding, pick
from simbench.seeds import generator
from simbench.spec import OneOf, Spec, misfit


class Task(Spec):
    """What every node works on, and how it takes a step."""

    model: Annotated[Model, OneOf("simbench.learning.models")] = GPT()
    """The model to train."""
    data: Annotated[Dataset, OneOf("simbench.learning.datasets")] = Text()
    """What to train it on."""
    shards: Annotated[Sharding, OneOf("simbench.learning.shards")] | None = None
    """Which samples each node has; by default ``contiguous`` pieces of text, and ``iid`` else."""
    batch_size: PositiveInt = 8
    """Samples per node and step."""
    optimizer: Annotated[Optimizer, OneOf("simbench.learning.optimizers")] = SGD()
    """How a gradient becomes a step."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type of parameters and gradients."""

    @model_validator(mode="after")
    def _model_reads_the_data(self) -> "Task":
        if problem := misfit_of(self.model, self.data):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _samples_can_be_shared_out_so(self) -> "Task":
        if self.shards is None:
            return self
        if not isinstance(self.data, Samples):
            raise misfit(
                ("shards",), f"has no effect: with data {self.data.kind}, each node draws its own"
            )
        if self.shards.needs_labels and not self.data.has_labels:
            raise misfit(
                ("shards",),
                f"{self.shards.kind} goes by labels, and samples of data {self.data.kind} have "
                "none; iid and contiguous do without",
            )
        return self

    @property
    def sharding(self) -> Sharding | None:
        """Who has which samples; None where nothing is shared out."""
        return self.shards or (self.data.own_sharding if isinstance(self.data, Samples) else None)

    def batch(
        self, draw: np.random.Generator, rank: int, weights: Sequence[int], size: int | None = None
    ) -> Batch:
        """Return ``size`` samples of node ``rank``, by default ``batch_size``.

        Args:
            draw: names the batch.
            rank: whose.
            weights: sizes of the shards of all nodes, in proportion.
            size: how many samples.

        Raises:
            ValueError: there are too few samples for so many nodes.
        """
        data, length = self.data, self.model.length
        count = self.batch_size if size is None else size
        if isinstance(data, Endless):
            return data.draw(draw, rank, count, length)
        assert isinstance(data, Samples), "a dataset is Samples or Endless"
        sharding = self.shards or data.own_sharding
        shard = _shards(sharding, data, length, tuple(weights))[rank]
        return data.take(pick(shard, draw, count), length)

    @property
    def torch_dtype(self) -> torch.dtype:
        """``dtype`` as torch names it."""
        return torch.float32 if self.dtype == "float32" else torch.float64

    @property
    def num_parameters(self) -> int:
        """Entries of the flat vector of parameters."""
        return sum(parameter.numel() for parameter in _on_meta(self).parameters())

    @property
    def vector_bytes(self) -> int:
        """Bytes of the parameters, and of a gradient."""
        return self.num_parameters * self.torch_dtype.itemsize

    @property
    def training_bytes(self) -> int:
        """Least memory of a node that trains: parameters, gradient and optimiser's state.

        Activations, buffers and fragments come on top. They depend on how the model is written, and
        recomputing may spare most of the activations, so this is what no such means can spare.

        Source:
            Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter
            Models", SC 2020, arXiv:1910.02054, sections 3.1 (model states) and 3.2 (the rest).
        """
        return self.vector_bytes * (2 + self.optimizer.state_vectors)

    @property
    def step_flops(self) -> int:
        """FLOPs of one gradient of ``batch_size`` samples, as torch's own counter tells them."""
        return _count_flops(self)


@functools.cache
def _on_meta(task: Task) -> nn.Module:
    with torch.device("meta"):
        return task.model.build().to(task.torch_dtype)


@functools.lru_cache(maxsize=16)
def _shards(
    sharding: Sharding, data: Samples, length: int, weights: tuple[int, ...]
) -> tuple[Shard, ...]:
    listing = Listing(
        data.num_samples(length),
        data.reach(length),
        data.labels(length) if sharding.needs_labels else None,
    )
    shards = sharding.split(listing, weights) if listing.num_samples else ()
    if not shards or not all(map(len, shards)):
        raise ValueError(data.too_few(len(weights), length))
    return shards


@functools.cache
def _count_flops(task: Task) -> int:
    if task.model.takes == "noise":
        # The node's rank is read as a number, which a tensor without storage doesn't have.
        return 0
    draw = generator(0, "flops", 0, 0)
    batch = task.batch(draw, 0, (1,))
    try:
        return _count_on("meta", task, _on_meta(task), batch)
    except (RuntimeError, NotImplementedError):
        # It looks at its numbers, which tensors without storage don't have.
        return _count_on("cpu", task, task.model.build().to(task.torch_dtype), batch)


def _count_on(device: str, task: Task, module: nn.Module, batch: Batch) -> int:
    there = tuple(
        tensor.to(device, task.torch_dtype if tensor.is_floating_point() else None)
        for tensor in batch
    )
    # The counter knows no fused attention of the CPU and would leave it out.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task.model.loss(module, there).backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())
