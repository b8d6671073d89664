"""A small Vision Transformer: an image is a sequence of patches.

Shapes: B samples, C width.
"""

from typing import Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from simbench.learning.model import Batch, Predictor
from simbench.learning.transformer import Block, Shape, initialise_as_gpt_2
from simbench.spec import misfit


class ViT(Predictor):
    """Pre-norm encoder over patches and one learned token more, which is read out in the end.

    Source:
        Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at
        Scale", ICLR 2021, arXiv:2010.11929, section 3.1.
    """

    kind: Literal["vit"] = "vit"
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
    classes: PositiveInt = 10
    """Labels that it tells apart."""

    @model_validator(mode="after")
    def _divides(self) -> "ViT":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} isn't a multiple of heads {self.heads}")
        if self.image % self.patch:
            raise misfit(("patch",), f"image {self.image} isn't a multiple of patch {self.patch}")
        return self

    @property
    def takes(self) -> Literal["features"]:
        """Pixels and labels."""
        return "features"

    @property
    def length(self) -> int:
        """Numbers per image."""
        return self.channels * self.image**2

    @property
    def num_classes(self) -> int:
        """Labels."""
        return self.classes

    def build(self) -> nn.Module:
        """Return the network: (B, pixels) in, (B, classes) logits out."""
        return _ViT(self)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw matrices as GPT-2 does."""
        initialise_as_gpt_2(module.named_parameters(), self.layers, generator)

    def logits(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return (B, classes)."""
        logits: Tensor = module(batch[0])
        return logits


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


class _ViT(nn.Module):
    def __init__(self, spec: ViT) -> None:
        super().__init__()
        self.patches = Patches(spec.image, spec.channels, spec.patch, spec.width)
        self.summary = nn.Embedding(1, spec.width)
        self.position = nn.Embedding(1 + (spec.image // spec.patch) ** 2, spec.width)
        shape = Shape(spec.layers, spec.width, spec.heads, causal=False)
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(spec.layers)))
        self.final_norm = nn.LayerNorm(spec.width)
        self.classifier = nn.Linear(spec.width, spec.classes)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patches(pixels)
        summary = self.summary.weight.expand(len(pixels), 1, -1)
        x = torch.cat([summary, patches], dim=1) + self.position.weight
        logits: Tensor = self.classifier(self.final_norm(self.blocks(x)[:, 0]))
        return logits
