"""One Transformer that reads an image and a text together.

Shapes: B samples, P patches, T tokens, C width.
"""

from typing import Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from simbench.learning.model import Batch, Predictor
from simbench.learning.models.vit import Patches
from simbench.learning.transformer import Block, Shape, initialise_as_gpt_2
from simbench.spec import misfit


class ViLT(Predictor):
    """Pre-norm encoder over a summary, tokens and patches; an embedding tells which are which.

    Source:
        Kim et al., "ViLT: Vision-and-Language Transformer Without Convolution or Region
        Supervision", ICML 2021, arXiv:2102.03334, section 3.1 and its image-text matching.
    """

    kind: Literal["vilt"] = "vilt"
    image: PositiveInt = 8
    """Height and width of an image, in pixels."""
    channels: PositiveInt = 1
    """Numbers per pixel; a sample holds one channel's pixels, row by row, after the other's."""
    patch: PositiveInt = 2
    """Height and width of a patch, which ``image`` is a multiple of."""
    context: PositiveInt = 5
    """Tokens of the text."""
    vocabulary: PositiveInt = 256
    """Different tokens: as many as bytes, or as the data have."""
    layers: PositiveInt = 2
    """Transformer blocks."""
    width: PositiveInt = 32
    """Size of the residual stream; a multiple of ``heads``."""
    heads: PositiveInt = 4
    """Attention heads per block."""
    classes: PositiveInt = 2
    """Labels that it tells apart."""

    @model_validator(mode="after")
    def _divides(self) -> "ViLT":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} isn't a multiple of heads {self.heads}")
        if self.image % self.patch:
            raise misfit(("patch",), f"image {self.image} isn't a multiple of patch {self.patch}")
        return self

    @property
    def takes(self) -> Literal["images and tokens"]:
        """Pixels, tokens and labels."""
        return "images and tokens"

    @property
    def length(self) -> int:
        """Tokens per sample."""
        return self.context

    @property
    def num_features(self) -> int:
        """Numbers per image."""
        return self.channels * self.image**2

    @property
    def num_tokens(self) -> int:
        """The vocabulary."""
        return self.vocabulary

    @property
    def num_classes(self) -> int:
        """Labels."""
        return self.classes

    def build(self) -> nn.Module:
        """Return the network: (B, pixels) and (B, T) tokens in, (B, classes) logits out."""
        return _ViLT(self)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw matrices as GPT-2 does."""
        initialise_as_gpt_2(module.named_parameters(), self.layers, generator)

    def logits(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return (B, classes)."""
        logits: Tensor = module(*batch[:-1])
        return logits


class _ViLT(nn.Module):
    def __init__(self, spec: ViLT) -> None:
        super().__init__()
        self.token = nn.Embedding(spec.vocabulary, spec.width)
        self.patches = Patches(spec.image, spec.channels, spec.patch, spec.width)
        # The summary reads as a token, in the first place of the text.
        self.summary = nn.Embedding(1, spec.width)
        self.place_in_text = nn.Embedding(1 + spec.context, spec.width)
        self.place_in_image = nn.Embedding((spec.image // spec.patch) ** 2, spec.width)
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
