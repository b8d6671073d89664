"""The task: what is trained, on what, by which optimiser."""

import functools
from typing import Annotated, Any, Literal

import torch
from pydantic import (
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from simbench.learning.checkpointing import blocks, checkpoint_blocks
from simbench.learning.dataset import Dataset
from simbench.learning.datasets.text import Text
from simbench.learning.model import Batch, Model
from simbench.learning.models.gpt import GPT
from simbench.learning.optimizer import Chain, Optimizer
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.privacy import Privacy, mixes_samples
from simbench.learning.together import gradients
from simbench.seeds import generator
from simbench.spec import OneOf, Spec, discover, misfit


class Task(Spec):
    """What every node works on, and how it takes a step."""

    model: Annotated[Model, OneOf("simbench.learning.models")] = GPT()
    """The model to train."""
    data: Annotated[Dataset, OneOf("simbench.learning.datasets")] = Text()
    """What to train it on."""
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
    compile: bool = False
    """Whether torch compiles the loss, which takes a while, and gives other last bits."""

    @model_validator(mode="after")
    def _model_reads_the_data(self) -> "Task":
        if self.model.takes != self.data.yields:
            fitting = [
                kind
                for kind, data in discover("simbench.learning.datasets", Dataset).items()
                if data.yields == self.model.takes
            ]
            raise ValueError(
                f"model {self.model.kind} takes {self.model.takes} but data {self.data.kind} "
                f"yields {self.data.yields}; data that would do: {', '.join(fitting)}"
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
        chain = sum(each.state_vectors for each in self.gradient)
        return self.vector_bytes * (2 + self.optimizer.memory_vectors + chain)

    @property
    def step_flops(self) -> int:
        """FLOPs of one gradient, all micro-batches of it, as torch's own counter tells them."""
        return self.accumulate * _count_flops(self)


@functools.cache
def _on_meta(task: Task) -> nn.Module:
    with torch.device("meta"):
        module = task.model.build().to(task.torch_dtype)
    if task.checkpoint_activations:
        checkpoint_blocks(module)
    return module


@functools.cache
def _count_flops(task: Task) -> int:
    if task.model.takes == "noise":
        # The node's rank is read as a number, which a tensor without storage doesn't have.
        return 0
    with FlopCounterMode(display=False) as counter:
        task.model.loss(_on_meta(task), _batch_on_meta(task)).backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


@functools.cache
def _check_vectorised(task: Task) -> None:
    module = _on_meta(task)
    size, dtype = task.num_parameters, task.torch_dtype
    vectors = [torch.empty(size, dtype=dtype, device="meta") for _ in range(2)]
    batches = tuple(torch.stack([each, each]) for each in _batch_on_meta(task))
    try:
        gradients(task.model.loss, module, vectors, batches)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"torch can't compute gradients of model {task.model.kind} for several nodes at once: "
            f"{reason}"
        ) from None


def _batch_on_meta(task: Task) -> Batch:
    draw = generator(0, "flops", 0, 0)
    batch = task.data.batch(draw, 0, 1, task.batch_size, task.model.length)
    return tuple(
        tensor.to("meta", task.torch_dtype if tensor.is_floating_point() else None)
        for tensor in batch
    )
