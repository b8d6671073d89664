"""Differential privacy of samples: DP-SGD, and what it has spent."""

import functools
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from simbench.learning.model import Batch
from simbench.spec import Spec, misfit


class Privacy(Spec):
    """Each sample's gradient is clipped, and the sum of a batch gets Gaussian noise.

    A node that computes a gradient of B samples sends, in place of their mean,

        1/B (sum_i g_i min(1, clip / |g_i|) + N(0, (noise_multiplier clip)^2 I)).

    So each sample of a node is protected from whoever sees everything that the node sends, the
    server and the other workers among them, and whatever is made of it, the model included. What
    isn't protected: that a node takes part, held-out data, and samples that several nodes have.

    Source:
        Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, arXiv:1607.00133,
        algorithm 1.
    """

    clip: PositiveFloat = 1.0
    """C, the longest that one sample's gradient may be (2-norm)."""
    noise_multiplier: PositiveFloat = 1.1
    """sigma, the noise's standard deviation over ``clip``."""
    delta: float = Field(default=1e-5, gt=0, lt=1)
    """Chance of exceeding the epsilon that is told; below one over a shard's samples, by custom."""

    @model_validator(mode="after")
    def _can_be_accounted(self) -> "Privacy":
        if importlib.util.find_spec("opacus") is None:
            raise misfit((), "needs opacus to tell what is spent: pip install 'simbench[privacy]'")
        return self


_functorch: Any = torch._C._functorch  # noqa: SLF001


class _Loss(nn.Module):
    """A module's loss as a module, whose parameters can then be swapped for a call."""

    def __init__(self, loss: Callable[[nn.Module, Batch], Tensor], module: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self.module = module

    def forward(self, *sample: Tensor) -> Tensor:
        return self.loss(self.module, tuple(each.unsqueeze(0) for each in sample))


def sample_gradients(
    loss: Callable[[nn.Module, Batch], Tensor], module: nn.Module, batch: Batch
) -> Tensor:
    """Return the gradients (B, n) of the ``loss`` of each of the B samples of ``batch``."""
    # Where a kernel, such as attention's on CPUs, knows no batches of batches, torch loops over it.
    _functorch._set_vmap_fallback_warning_enabled(False)  # noqa: SLF001
    whole = _Loss(loss, module)
    point = {name: each.detach() for name, each in whole.named_parameters()}

    def of_one(parameters: dict[str, Tensor], *sample: Tensor) -> Tensor:
        told: Tensor = functional_call(whole, parameters, sample)
        return told

    axes = (None, *(0 for _ in batch))
    each: dict[str, Tensor] = vmap(grad(of_one), in_dims=axes, randomness="different")(
        point, *batch
    )
    return torch.cat([each[name].flatten(1) for name in point], dim=1)


def private_gradient(
    privacy: Privacy,
    loss: Callable[[nn.Module, Batch], Tensor],
    module: nn.Module,
    micro_batches: Sequence[Batch],
    draw: np.random.Generator,
) -> Tensor:
    """Return the mean (n,) of all samples' clipped gradients, with noise from ``draw``.

    Memory is needed for the gradients of one micro-batch at a time.
    """
    sums = []
    for batch in micro_batches:
        gradients = sample_gradients(loss, module, batch)
        factors = torch.clamp(privacy.clip / gradients.norm(dim=1), max=1)
        sums.append(factors @ gradients)
    total = functools.reduce(torch.add, sums)
    noise = torch.from_numpy(draw.standard_normal(len(total))).to(total)
    noised = torch.add(total, noise, alpha=privacy.noise_multiplier * privacy.clip)
    return noised / sum(len(batch[0]) for batch in micro_batches)


def mixes_samples(module: nn.Module) -> bool:
    """Whether what one sample gives depends on the others of its batch: there is batch norm."""
    return any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in module.modules())  # noqa: SLF001


def spent(privacy: Privacy, sampling_rate: float, steps: int) -> float:
    """Return the epsilon of ``steps`` noised gradients, each of a share of the samples.

    As accountants do, it takes each sample to be in a batch with probability ``sampling_rate``,
    independently of the others (Poisson sampling); neighbours differ in one sample more or less.

    Source:
        Mironov, Talwar, Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism",
        2019, arXiv:1908.10530, section 3.3; Balle et al., "Hypothesis Testing Interpretations and
        Renyi Differential Privacy", AISTATS 2020, arXiv:1905.09982, theorem 21.
    """
    if not steps:
        return 0.0
    from opacus.accountants import RDPAccountant  # noqa: PLC0415 - two seconds, for few runs

    accountant = RDPAccountant()
    accountant.history = [(privacy.noise_multiplier, sampling_rate, steps)]
    return float(accountant.get_epsilon(privacy.delta))
