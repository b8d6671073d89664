"""The task: what is trained, on what, by which optimiser."""

import functools
from typing import Annotated, Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from simbench.learning.dataset import Dataset
from simbench.learning.datasets.text import Text
from simbench.learning.model import Batch, Model
from simbench.learning.models.gpt import GPT
from simbench.learning.optimizer import Optimizer
from simbench.learning.optimizers.sgd import SGD
from simbench.seeds import generator
from simbench.spec import OneOf, Spec, discover


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
    dtype: Literal["float32", "float64"] = "float32"
    """Type of parameters and gradients."""

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


@functools.cache
def _count_flops(task: Task) -> int:
    if task.model.takes == "noise":
        # The node's rank is read as a number, which a tensor without storage doesn't have.
        return 0
    with FlopCounterMode(display=False) as counter:
        loss = task.model.loss(_on_meta(task), batch_on_meta(task))
        loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def batch_on_meta(task: Task) -> Batch:
    """Return a batch of the right shapes and types, without numbers."""
    draw = generator(0, "flops", 0, 0)
    batch = task.data.batch(draw, 0, 1, task.batch_size, task.model.length)
    return tuple(
        tensor.to("meta", task.torch_dtype if tensor.is_floating_point() else None)
        for tensor in batch
    )
