"""Gaussian noise on the gradient."""

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from simbench.learning.transform import Memory, Transform


class GaussianNoise(Transform):
    """g <- g + N(0, deviation^2 I), independent at every node and step.

    It proves no privacy of samples by itself, also after ``clip_by_norm``: clipping the mean of a
    batch bounds what the whole batch does to it, which is that much for one sample, too.
    ``task.privacy`` clips sample by sample and tells what is proven.

    Source:
        Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep Networks", 2015,
        arXiv:1511.06807, equation 1.
    """

    kind: Literal["gaussian_noise"] = "gaussian_noise"
    deviation: NonNegativeFloat = 0.01
    """Standard deviation per entry."""

    draws: ClassVar[bool] = True

    def apply(
        self, gradient: Tensor, parameters: Tensor, memory: Memory, draw: np.random.Generator | None
    ) -> tuple[Tensor, Memory]:
        """Return the gradient with noise from ``draw``."""
        assert draw is not None, "what draws is handed a generator"
        noise = torch.from_numpy(draw.standard_normal(len(gradient))).to(gradient)
        return torch.add(gradient, noise, alpha=self.deviation), memory
