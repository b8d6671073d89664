"""One Transformer that reads an image and a text together.

Shapes: B samples, P patches, T tokens, C width.
"""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from simbench.learning.patches import Patches, PatchReader
from simbench.learning.transformer import Block, Shape


class ViLT(PatchReader):
    """Pre-norm encoder over a summary, tokens and patches; an embedding tells which are which.

    Source:
        Kim et al., "ViLT: Vision-and-Language Transformer Without Convolution or Region
        Supervision", ICML 2021, arXiv:2102.03334, section 3.1 and its image-text matching.
    """

    kind: Literal["vilt"] = "vilt"
    context: PositiveInt = 5
    """Tokens of the text."""
    vocabulary: PositiveInt = 256
    """Different tokens: as many as bytes, or as the data have."""

    @property
    def takes(self) -> Literal["images and tokens"]:
        """Pixels, tokens and labels."""
        return "images and tokens"

    @property
    def length(self) -> int:
        """Tokens per sample."""
        return self.context

    @property
    def num_tokens(self) -> int:
        """The vocabulary."""
        return self.vocabulary

    def build(self) -> nn.Module:
        """Return the network: (B, pixels) and (B, T) tokens in, (B, classes) logits out."""
        return _ViLT(self)


class _ViLT(nn.Module):
    def __init__(self, spec: ViLT) -> None:
        super().__init__()
        self.token = nn.Embedding(spec.vocabulary, spec.width)
        self.patches = Patches(spec.image, spec.channels, spec.patch, spec.width)
        # The summary reads as a token, in the first place of the text.
        self.summary = nn.Embedding(1, spec.width)
        self.place_in_text = nn.Embedding(1 + spec.context, spec.width)
        self.place_in_image = nn.Embedding(spec.num_patches, spec.width)
        self.modality = nn.Embedding(2, spec.width)
        shape = Shape(spec.layers, spec.width, spec.heads, causal=False)
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(spec.layers)))
        self.final_norm = nn.LayerNorm(spec.width)
        self.classifier = nn.Linear(spec.width, spec.classes)

    def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        text_type, image_type = self.modality.weight
        summary = self.summary.weight.expand(len(tokens), 1, -1)
        text = torch.cat([summary, self.token(tokens)], dim=1) + self.place_in_text.weight
        image = self.patches(pixels) + self.place_in_image.weight
        x = torch.cat([text + text_type, image + image_type], dim=1)  # (B, 1 + T + P, C)
        logits: Tensor = self.classifier(self.final_norm(self.blocks(x)[:, 0]))
        return logits
