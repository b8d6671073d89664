"""A small GPT: a decoder-only Transformer that predicts the next token.

Shapes: B samples, T tokens, C width, V vocabulary.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from simbench.learning.model import Predictor
from simbench.learning.split import Link
from simbench.learning.transformer import (
    Norm,
    Positions,
    Shape,
    Trunk,
    check_heads,
    initialise_as_gpt_2,
)
from simbench.learning.transformer_split import split_transformer
from simbench.spec import misfit


class GPT(Predictor):
    """Transformer that sees what came before, with tied embeddings.

    Source:
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (GPT-2), whose
        form the defaults are; sources of the others stand in ``learning.transformer``.
    """

    kind: Literal["gpt"] = "gpt"
    layers: PositiveInt = 2
    """Transformer blocks."""
    width: PositiveInt = 96
    """Size of the residual stream; a multiple of ``heads``."""
    heads: PositiveInt = 4
    """Attention heads per block."""
    context: PositiveInt = 64
    """Tokens that it sees at once."""
    vocabulary: PositiveInt = 256
    """Different tokens: as many as bytes, or as the data have."""
    positions: Positions = "learned"
    """How it knows where a token stands: a vector for each place, waves, or turned queries and
    keys, which needs an even width per head."""
    norm: Norm = "pre"
    """Layer normalisation before each sublayer, after it, or ``none``."""
    residual: bool = True
    """Whether a sublayer adds to its input; without it, it takes its place."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "GPT":
        check_heads(self.width, self.heads)
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise misfit(
                ("positions",), f"rotary turns pairs; a head has {self.width // self.heads}"
            )
        return self

    @property
    def takes(self) -> Literal["tokens"]:
        """Tokens, and those that follow each."""
        return "tokens"

    @property
    def length(self) -> int:
        """Tokens per sample."""
        return self.context

    @property
    def num_tokens(self) -> int:
        """The vocabulary."""
        return self.vocabulary

    def build(self) -> nn.Module:
        """Return the network: (B, T) tokens in, (B, T, V) logits out."""
        return _GPT(self)

    def split(self, stages: int, tensor: int) -> Sequence[Link]:
        """Return the network as a chain; see ``learning.transformer_split``."""
        if stages > self.layers:
            raise misfit(("pipeline",), f"{self.layers} layers can't make {stages} stages")
        if self.heads % tensor:
            raise misfit(("tensor",), f"{self.heads} heads aren't a multiple of {tensor} devices")
        if self.vocabulary < tensor:
            raise misfit(("tensor",), f"{tensor} devices can't share {self.vocabulary} tokens")
        return split_transformer(_GPT(self), stages, tensor)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw matrices as GPT-2 does."""
        initialise_as_gpt_2(module.named_parameters(), self.layers, generator)


class _GPT(Trunk):
    def __init__(self, spec: GPT) -> None:
        shape = Shape(
            spec.layers,
            spec.width,
            spec.heads,
            causal=True,
            norm=spec.norm,
            residual=spec.residual,
            rotary=spec.positions == "rotary",
        )
        super().__init__(shape, spec.vocabulary, spec.context, spec.positions)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.hidden(tokens) @ self.token.weight.T
