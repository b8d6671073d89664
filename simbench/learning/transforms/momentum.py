"""Momentum: a running sum of gradients."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from simbench.learning.transform import Memory, Transform


class Momentum(Transform):
    """v <- decay * v + g; what goes on is v (heavy ball), or g + decay * v with ``nesterov``.

    In front of an optimiser without momentum this is SGD with momentum. In ``task.gradient`` it is
    momentum at the worker, which sends v: preceded by ``{kind: scale, factor: 1 - decay}``, v is
    the running mean of Karimireddy et al.

    Source:
        Sutskever, Martens, Dahl, Hinton, "On the Importance of Initialization and Momentum in Deep
        Learning", ICML 2013 (as torch writes it: the learning rate stands outside of v);
        Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML
        2021, arXiv:2012.10333, algorithm 2 (worker momentum).
    """

    kind: Literal["momentum"] = "momentum"
    decay: float = Field(default=0.9, ge=0, lt=1)
    """Weight of the past in v."""
    nesterov: bool = False
    """Whether to look ahead."""

    @property
    def state_vectors(self) -> int:
        """The velocity v."""
        return 1

    def apply(
        self, gradient: Tensor, parameters: Tensor, memory: Memory, draw: np.random.Generator | None
    ) -> tuple[Tensor, Memory]:
        """Return v, or with ``nesterov`` what v will be if the next gradient is as this one."""
        before = memory.get("velocity")
        velocity = gradient if before is None else (before * self.decay).add_(gradient)
        ahead = torch.add(gradient, velocity, alpha=self.decay) if self.nesterov else velocity
        return ahead, {"velocity": velocity}
