"""Gradients with noise on top."""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from simbench.execution.operation import PureOperation
from simbench.learning.fault import Fault
from simbench.seeds import generator


class Noise(Fault):
    """g becomes g + ``sigma`` z, with z from N(0, I), another one at each step.

    Source:
        Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
        Tolerant Gradient Descent", NeurIPS 2017, arXiv:1703.02757: the Gaussian workers of the
        experiments send noise with a deviation of 200, beside which a gradient is nothing.
    """

    kind: Literal["noise"] = "noise"
    sigma: PositiveFloat = 1.0
    """The deviation of each entry."""

    def operation(self, seed: int) -> "AddNoise":
        """Return what adds it."""
        return AddNoise(self.sigma, seed)


@dataclass(frozen=True)
class AddNoise(PureOperation):
    """A vector (n,) with noise that (seed, rank, step) names."""

    sigma: float
    seed: int

    def __call__(self, gradient: Tensor, rank: int, step: int) -> Tensor:
        """Return gradient + sigma * z."""
        z = generator(self.seed, "fault noise", rank, step).standard_normal(len(gradient))
        return torch.add(gradient, torch.from_numpy(z).to(gradient), alpha=self.sigma)
