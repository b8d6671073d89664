"""The task: what is trained, on what, by which optimiser."""

import functools
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import (
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from simbench.learning.checkpointing import blocks, checkpoint_blocks
from simbench.learning.dataset import Dataset, Endless, Samples
from simbench.learning.datasets.text import Text
from simbench.learning.fit import misfit_of
from simbench.learning.model import Batch, Model
from simbench.learning.models.gpt import GPT
from simbench.learning.optimizer import Chain, Optimizer
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.pricing import Charge, Pricing
from simbench.learning.privacy import Privacy, mixes_samples
from simbench.learning.sharding import Listing, Shard, Sharding, pick
from simbench.learning.together import evaluations, gradients
from simbench.learning.vectors import flatten, gradient_of
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
    gradient: Chain = ()
    """What is done to a node's gradient before it steps or sends, in this order."""
    privacy: Privacy | None = None
    """Clip each sample's gradient and add noise (DP-SGD), before all else; by default don't."""
    accumulate: PositiveInt = 1
    """Micro-batches of ``batch_size`` whose gradients are averaged in a step."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type of parameters and gradients."""
    mixed_precision: Literal["bfloat16"] | None = None
    """What a gradient is computed in, where torch's autocast deems it safe; weights stay."""
    checkpoint_activations: bool = False
    """Whether a backward pass computes the insides of the model's blocks again."""
    priced_as: Annotated[Pricing, OneOf("simbench.learning.pricings", default="custom")] | None = (
        None
    )
    """A larger model whose FLOPs, bytes and memory are charged; by default those of ``model``."""
    compile: bool = False
    """Whether torch compiles the loss, which takes a while, and gives other last bits."""

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

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> "Task":
        if self.optimizer.draws:
            raise misfit(
                ("optimizer", "transforms"),
                "what draws belongs into task.gradient, where each node draws for itself; at an "
                "optimiser all would draw the same, as a strategy's own optimizer may",
            )
        if self.mixed_precision is not None and self.dtype != "float32":
            raise misfit(("mixed_precision",), f"needs dtype: float32; got dtype: {self.dtype}")
        if self.checkpoint_activations and not blocks(_on_meta(self)):
            raise misfit(
                ("checkpoint_activations",),
                f"has no effect: model {self.model.kind} has no blocks to compute again",
            )
        for key in ("privacy", "checkpoint_activations"):
            if self.compile and getattr(self, key):
                raise misfit(("compile",), f"can't be combined with {key}")
        if self.privacy is not None and self.checkpoint_activations:
            raise misfit(
                ("checkpoint_activations",),
                "can't be combined with privacy, whose gradients sample by sample torch can't "
                "compute with it",
            )
        if self.privacy is not None and mixes_samples(_on_meta(self)):
            raise misfit(
                ("privacy",),
                f"model {self.model.kind} normalises over the batch, so its samples have no "
                "gradients of their own",
            )
        return self

    @model_validator(mode="after")
    def _stands_for_a_larger_model(self) -> "Task":
        pricing = self.priced_as
        if pricing is None:
            return self
        if pricing.model.num_parameters < self.num_parameters:
            raise misfit(
                ("priced_as",),
                f"a small model stands for a large one: {pricing.model.name} has "
                f"{pricing.model.num_parameters:,} parameters, and model {self.model.kind}, which "
                f"is trained, has {self.num_parameters:,}",
            )
        try:
            pricing.sample_flops(self.tokens_per_sample)
        except ValueError as error:
            raise misfit(("priced_as", "tokens_per_sample"), str(error)) from None
        return self

    @property
    def tokens_per_sample(self) -> int | None:
        """Tokens of a sample that is trained on; None if it has none."""
        return None if self.model.num_tokens is None else self.model.length

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what isn't asked for."""
        tree: dict[str, Any] = write(self)
        if not self.compile:
            tree.pop("compile", None)
        return tree

    def check_vectorised(self) -> None:
        """Refuse what can't be done for several nodes in one call.

        Raises:
            ValueError: with what is in the way.
        """
        for key in ("privacy", "checkpoint_activations", "compile"):
            if getattr(self, key):
                raise ValueError(f"can't be combined with task.{key}")
        _check_vectorised(self)

    @property
    def samples_per_step(self) -> int:
        """Samples behind one gradient of one node."""
        return self.batch_size * self.accumulate

    @property
    def overlap(self) -> float:
        """Share of the backward passes in which a gradient comes out bit by bit: the last one.

        0 where its first entry can't be told before its last.
        """
        whole = self.privacy is not None or any(each.needs_whole for each in self.gradient)
        return 0.0 if whole else 1 / self.accumulate

    @property
    def sharding(self) -> Sharding | None:
        """Who has which samples; None where nothing is shared out."""
        return self.shards or (self.data.own_sharding if isinstance(self.data, Samples) else None)

    def batch(
        self, draw: np.random.Generator, rank: int, weights: Sequence[int], size: int | None = None
    ) -> Batch:
        """Return ``size`` samples of node ``rank``, by default those of one step.

        Args:
            draw: names the batch.
            rank: whose.
            weights: sizes of the shards of all nodes, in proportion.
            size: how many samples.

        Raises:
            ValueError: there are too few samples for so many nodes.
        """
        data, length = self.data, self.model.length
        count = self.samples_per_step if size is None else size
        if isinstance(data, Endless):
            return data.draw(draw, rank, count, length)
        assert isinstance(data, Samples), "a dataset is Samples or Endless"
        sharding = self.shards or data.own_sharding
        shard = _shards(sharding, data, length, tuple(weights))[rank]
        return data.take(pick(shard, draw, count), length)

    def shard_sizes(self, weights: Sequence[int]) -> tuple[int, ...] | None:
        """Return how many samples each node has; None where data never end.

        Args:
            weights: as in ``batch``.
        """
        if not isinstance(self.data, Samples):
            return None
        sharding = self.shards or self.data.own_sharding
        return tuple(map(len, _shards(sharding, self.data, self.model.length, tuple(weights))))

    def smallest_shard(self, weights: Sequence[int]) -> int | None:
        """Return how many samples the smallest shard has.

        None where that means nothing: samples overlap, or are drawn anew each time.
        """
        sizes = self.shard_sizes(weights)
        overlap = isinstance(self.data, Samples) and self.data.reach(self.model.length)
        return None if sizes is None or overlap else min(sizes)

    @property
    def torch_dtype(self) -> torch.dtype:
        """``dtype`` as torch names it."""
        return torch.float32 if self.dtype == "float32" else torch.float64

    @property
    def num_parameters(self) -> int:
        """Entries of the flat vector of parameters."""
        return sum(map(math.prod, self.shapes))

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the tensors in the flat vector of parameters, in their order."""
        return tuple(tuple(parameter.shape) for parameter in _on_meta(self).parameters())

    @property
    def charge(self) -> Charge:
        """What vectors are charged: their own entries, or those of the model it is priced as."""
        length, pricing = self.num_parameters, self.priced_as
        if pricing is None:
            return Charge(length, length, self.torch_dtype.itemsize)
        return Charge(length, pricing.model.num_parameters, pricing.parameter_bytes)

    @property
    def vector_bytes(self) -> int:
        """Bytes that the parameters are charged, and a gradient."""
        return self.charge.between(0, self.num_parameters)

    @property
    def training_bytes(self) -> int:
        """Least memory of a node that trains: parameters, gradient and optimiser's state.

        Activations, buffers and fragments come on top. They depend on how the model is written, and
        recomputing may spare most of the activations, so this is what no such means can spare.

        Source:
            Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter
            Models", SC 2020, arXiv:1910.02054, sections 3.1 (model states) and 3.2 (the rest).
        """
        chain = sum(each.state_vectors for each in self.gradient)
        return self.vector_bytes * (2 + self.optimizer.memory_vectors + chain)

    @property
    def step_flops(self) -> int:
        """FLOPs that one gradient is charged, all micro-batches of it.

        Those of the model itself are what torch's own counter tells.
        """
        # Counted in any case: that tells whether the model takes a batch.
        counted = self.accumulate * _count_flops(self)
        if self.priced_as is None:
            return counted
        return self.samples_per_step * self.priced_as.sample_flops(self.tokens_per_sample)

    @property
    def pricing_facts(self) -> dict[str, Any] | None:
        """What is trained and what is charged, for records; None where those are the same."""
        if self.priced_as is None:
            return None
        model = self.priced_as.model
        return {
            "trained": self.model.kind,
            "trained_parameters": self.num_parameters,
            "model": model.name,
            "parameters": model.num_parameters,
            "precision": self.priced_as.precision,
            "flops": model.flops,
            "unit": model.unit,
            "source": model.source,
        }


@functools.cache
def _on_meta(task: Task) -> nn.Module:
    with torch.device("meta"):
        module = task.model.build().to(task.torch_dtype)
    if task.checkpoint_activations:
        checkpoint_blocks(module)
    return module


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
    batch = task.batch(draw, 0, (1,), task.batch_size)
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


@functools.cache
def _check_vectorised(task: Task) -> None:
    """Try it on one sample, with numbers: what is done without them tells too little."""
    model = task.model
    module = model.build().to(task.torch_dtype)
    model.initialise(module, torch.Generator().manual_seed(0))
    drawn = task.batch(generator(0, "vectorise", 0, 0), 0, (1,), 1)
    batch = tuple(x.to(task.torch_dtype if x.is_floating_point() else None) for x in drawn)
    expected = gradient_of(model.loss(module, batch), list(module.parameters()))
    vectors = [flatten(module) for _ in range(2)]
    batches = tuple(torch.stack([each, each]) for each in batch)
    try:
        with torch.no_grad():
            evaluations(model.evaluate, module, vectors, batches)
        both = gradients(model.loss, module, vectors, batches)
        difference = (both - expected).abs().max()
        found = "they come out otherwise" if difference > 1e-3 * expected.abs().max() else None
    except (RuntimeError, NotImplementedError) as error:
        found = str(error).partition("\n")[0]
    if found is not None:
        raise ValueError(
            f"gradients of model {model.kind} can't be computed for several nodes at once: {found}"
        )
