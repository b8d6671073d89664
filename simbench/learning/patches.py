"""What Transformers share that read images as sequences of patches.

Shapes: B samples, C width.
"""

from abc import ABC

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from simbench.learning.model import Predictor
from simbench.learning.transformer import check_heads, initialise_as_gpt_2
from simbench.spec import misfit


class PatchReader(Predictor, ABC):
    """An encoder over the patches of an image, which tells classes apart."""

    image: PositiveInt = 8
    """Height and width of an image, in pixels."""
    channels: PositiveInt = 1
    """Numbers per pixel; a sample holds one channel's pixels, row by row, after the other's."""
    patch: PositiveInt = 2
    """Height and width of a patch, which ``image`` is a multiple of."""
    layers: PositiveInt = 2
    """Transformer blocks."""
    width: PositiveInt = 32
    """Size of the residual stream; a multiple of ``heads``."""
    heads: PositiveInt = 4
    """Attention heads per block."""
    classes: PositiveInt = 2
    """Labels that it tells apart."""

    @model_validator(mode="after")
    def _divides(self) -> "PatchReader":
        check_heads(self.width, self.heads)
        if self.image % self.patch:
            raise misfit(("patch",), f"image {self.image} isn't a multiple of patch {self.patch}")
        return self

    @property
    def num_features(self) -> int:
        """Numbers per image."""
        return self.channels * self.image**2

    @property
    def num_patches(self) -> int:
        """Patches per image."""
        return (self.image // self.patch) ** 2

    @property
    def num_classes(self) -> int:
        """Labels."""
        return self.classes

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw matrices as GPT-2 does."""
        initialise_as_gpt_2(module.named_parameters(), self.layers, generator)


class Patches(nn.Module):
    """Images (B, pixels) become (B, patches, C): a linear map of each patch."""

    def __init__(self, image: int, channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.shape = channels, image, image
        self.fold = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, patches, C), the patches row by row."""
        out: Tensor = self.fold(pixels.reshape(-1, *self.shape)).flatten(2).transpose(1, 2)
        return out
