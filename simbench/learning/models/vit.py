"""A small Vision Transformer: an image is a sequence of patches.

Shapes: B samples, C width.
"""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from simbench.learning.patches import Patches, PatchReader
from simbench.learning.transformer import Block, Shape


class ViT(PatchReader):
    """Pre-norm encoder over patches and one learned token more, which is read out in the end.

    Source:
        Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at
        Scale", ICLR 2021, arXiv:2010.11929, section 3.1.
    """

    kind: Literal["vit"] = "vit"
    classes: PositiveInt = 10
    """Labels that it tells apart."""

    @property
    def takes(self) -> Literal["features"]:
        """Pixels and labels."""
        return "features"

    @property
    def length(self) -> int:
        """Numbers per image."""
        return self.num_features

    def build(self) -> nn.Module:
        """Return the network: (B, pixels) in, (B, classes) logits out."""
        return _ViT(self)


class _ViT(nn.Module):
    def __init__(self, spec: ViT) -> None:
        super().__init__()
        self.patches = Patches(spec.image, spec.channels, spec.patch, spec.width)
        self.summary = nn.Embedding(1, spec.width)
        self.position = nn.Embedding(1 + spec.num_patches, spec.width)
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
