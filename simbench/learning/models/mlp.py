"""A multilayer perceptron: dense layers with something nonlinear between them."""

import itertools
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import nn

from simbench.learning.model import Predictor

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class MLP(Predictor):
    """Dense layers from ``features`` to ``classes`` over ``hidden`` ones."""

    kind: Literal["mlp"] = "mlp"
    features: PositiveInt = 64
    """Entries of one sample."""
    hidden: tuple[PositiveInt, ...] = (64,)
    """Units of each hidden layer; without any it is multinomial logistic regression."""
    classes: PositiveInt = 10
    """Labels that it tells apart."""
    activation: Literal["relu", "gelu", "tanh"] = "relu"
    """What stands behind each hidden layer."""

    @property
    def takes(self) -> Literal["features"]:
        """Vectors and labels."""
        return "features"

    @property
    def length(self) -> int:
        """Entries per sample."""
        return self.features

    @property
    def num_classes(self) -> int:
        """Labels."""
        return self.classes

    def build(self) -> nn.Module:
        """Return the network: (B, features) in, (B, classes) logits out."""
        sizes = (self.features, *self.hidden, self.classes)
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), _ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers[:-1])

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw weights so that activations keep their size; start biases at zero.

        Source:
            He et al., "Delving Deep into Rectifiers", ICCV 2015, arXiv:1502.01852.
        """
        for parameter in module.parameters():
            if parameter.dim() == 1:
                nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
