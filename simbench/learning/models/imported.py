"""A model of the user's own, by the name of the function that makes it."""

import importlib
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, PositiveInt
from torch import Tensor, nn

from simbench.learning.global_draws import drawn_from
from simbench.learning.model import Batch, Form, Model, accuracy


def find(path: str) -> Callable[[], Any]:
    """Return the function that ``path``, "package.module:function", names.

    Raises:
        ValueError: it isn't of that form, or there is no such module or function.
    """
    module_name, colon, name = path.partition(":")
    if not (colon and module_name and name):
        raise ValueError(f"expected package.module:function; got {path!r}")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"module {module_name!r} can't be imported ({error}); it has to be installed, or in a "
            "folder that PYTHONPATH names"
        ) from None
    found = getattr(module, name, None)
    if not callable(found):
        raise ValueError(f"module {module_name!r} has no function {name!r}")
    made: Callable[[], Any] = found
    return made


def _exists(path: str) -> str:
    find(path)
    return path


class Imported(Model):
    """What a function of yours returns: a ``torch.nn.Module``, and a loss as torch's own are.

    The loss is called with what the module makes of a batch and the targets, which are the batch's
    last tensor; the module with those before it. Where the output has one score more than the
    targets have axes, and these are whole numbers, the accuracy is told as well. The module is in
    evaluation mode, without dropout and running statistics: a gradient is a pure function.
    """

    kind: Literal["import"] = "import"
    path: Annotated[str, AfterValidator(_exists)] = "simbench.learning.models.imported:example"
    """``package.module:function``; by default an example, which is logistic regression."""
    form: Form = "features"
    """What batches it reads."""
    sample: PositiveInt = 20
    """How many numbers make one sample: tokens of a sequence, entries of a vector."""

    @property
    def user_code(self) -> tuple[Any, ...]:
        """The function: keys contain its module's source, and what that imports of its package."""
        return (find(self.path),)

    @property
    def takes(self) -> Form:
        """What ``form`` says."""
        return self.form

    @property
    def length(self) -> int:
        """What ``sample`` says."""
        return self.sample

    def build(self) -> nn.Module:
        """Return the module together with its loss."""
        return _WithLoss(*find(self.path)()).eval()

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Give it the values that a new module has, drawn from ``generator``."""
        with drawn_from(generator):
            fresh = self.build()
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), fresh.parameters(), strict=True):
                parameter.copy_(value)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return what the loss makes of output and targets."""
        assert isinstance(module, _WithLoss)
        return module.criterion(module(*batch[:-1]), batch[-1])

    def evaluate(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return the loss, and the accuracy where there are scores of classes."""
        assert isinstance(module, _WithLoss)
        output, targets = module(*batch[:-1]), batch[-1]
        scored = not targets.is_floating_point() and output.shape[:-1] == targets.shape
        return module.criterion(output, targets), accuracy(output, targets) if scored else None


class _WithLoss(nn.Module):
    def __init__(self, net: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net
        self.criterion = criterion

    def forward(self, *inputs: Tensor) -> Tensor:
        output: Tensor = self.net(*inputs)
        return output


def example() -> tuple[nn.Module, nn.Module]:
    """Return logistic regression of two classes on 20 features, and its loss."""
    return nn.Linear(20, 2), nn.CrossEntropyLoss()
