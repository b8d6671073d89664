"""Nesterov's momentum, renewed only now and then."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from simbench.learning.optimizer import Optimizer
from simbench.spec import misfit


class DelayedNesterov(Optimizer):
    """Gradients take effect at once, 1/N of each; momentum is renewed by their mean, every N steps.

    With learning rate lr, momentum beta, ``buffer`` N and ``activation`` c, from m = D = 0, a step
    on the gradient g, number t = 1, 2, ..., does D <- D + g and then

        m <- beta m + D / N;  D <- 0;  x <- x - lr ((1 - c N + c) beta m + g / N)   if N divides t
        x <- x - lr (c beta m + g / N)                                              otherwise

    With c = 0, N steps on g_1, ..., g_N that were all taken at one x are one step of SGD with
    Nesterov's momentum on their mean; with N = 1 every step is one.

    Source:
        Liu et al., "Asynchronous Local-SGD Training for Language Modeling", 2024, arXiv:2401.09135,
        algorithm 3; there c = 0 unless told.
    """

    kind: Literal["delayed_nesterov"] = "delayed_nesterov"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """beta, the weight of the past in m."""
    buffer: PositiveInt = 4
    """N, the steps from one renewal of the momentum to the next."""
    activation: float = Field(default=0.0, ge=0, le=1)
    """c, the share of the momentum that acts in each step between; at most 1 / N."""

    @model_validator(mode="after")
    def _shares_add_up(self) -> "DelayedNesterov":
        if self.activation * self.buffer > 1:
            raise misfit(("activation",), f"expected at most 1 / buffer = {1 / self.buffer:g}")
        return self

    @property
    def state_vectors(self) -> int:
        """The momentum, and the sum of the gradients since its last renewal."""
        return 2

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return one that keeps ``momentum``, ``gathered`` and ``count`` per parameter."""
        return _DelayedNesterov(parameters, self)


class _DelayedNesterov(torch.optim.Optimizer):
    def __init__(self, parameters: Iterable[nn.Parameter], settings: DelayedNesterov) -> None:
        super().__init__(parameters, {})
        self._settings = settings

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "gradients are there already"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, self.state[parameter])

    def _step(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any]) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
            state["gathered"] = torch.zeros_like(gradient)
            state["count"] = torch.tensor(0)
        rate, beta, c = (
            self._settings.learning_rate,
            self._settings.momentum,
            self._settings.activation,
        )
        size = self._settings.buffer
        momentum, gathered, count = state["momentum"], state["gathered"], state["count"]
        gathered.add_(gradient)
        count.add_(1)
        share = c
        if int(count) == size:
            momentum.mul_(beta).add_(gathered, alpha=1 / size)
            gathered.zero_()
            count.zero_()
            share = 1 - c * size + c
        parameter.add_(momentum, alpha=-rate * share * beta)
        parameter.add_(gradient, alpha=-rate / size)
