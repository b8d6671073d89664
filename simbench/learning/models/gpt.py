"""A small GPT: a decoder-only Transformer that predicts the next byte.

Shapes: B samples, T tokens, C width, H heads, V vocabulary.
"""

from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from simbench.learning.model import Batch, Model

VOCABULARY = 256


class GPT(Model):
    """Pre-norm Transformer with learned positions and tied embeddings.

    Source:
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (GPT-2).
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

    takes: ClassVar[str] = "tokens"

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "GPT":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} isn't a multiple of heads {self.heads}")
        return self

    @property
    def length(self) -> int:
        """Tokens per sample."""
        return self.context

    def build(self) -> nn.Module:
        """Return the network: (B, T) tokens in, (B, T, V) logits out."""
        return _Transformer(self)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw matrices from N(0, 0.02), those that write to the residual stream smaller."""
        for name, parameter in module.named_parameters():
            if parameter.dim() == 1:
                nn.init.constant_(parameter, float(name.endswith("norm.weight")))
            else:
                out = name.endswith("out.weight")
                # GPT-2, section 2.3: the stream sums up 2 * layers of those.
                std = 0.02 / (2 * self.layers) ** 0.5 if out else 0.02
                nn.init.normal_(parameter, std=std, generator=generator)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the next token, in nats."""
        inputs, targets = batch
        logits = module(inputs)  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class _Transformer(nn.Module):
    def __init__(self, spec: GPT) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, spec.width)
        self.position = nn.Embedding(spec.context, spec.width)
        self.blocks = nn.ModuleList(_Block(spec) for _ in range(spec.layers))
        self.final_norm = nn.LayerNorm(spec.width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]  # (B, T, C)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.final_norm(x) @ self.token.weight.T  # (B, T, V)
        return logits


class _Block(nn.Module):
    def __init__(self, spec: GPT) -> None:
        super().__init__()
        self.heads = spec.heads
        self.attention_norm = nn.LayerNorm(spec.width)
        self.query_key_value = nn.Linear(spec.width, 3 * spec.width)
        self.attention_out = nn.Linear(spec.width, spec.width)
        self.feed_forward_norm = nn.LayerNorm(spec.width)
        self.feed_forward_in = nn.Linear(spec.width, 4 * spec.width)
        self.feed_forward_out = nn.Linear(4 * spec.width, spec.width)

    def forward(self, x: Tensor) -> Tensor:
        split = self.query_key_value(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each (B, H, T, C/H)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(y.transpose(1, 2).flatten(2))  # (B, T, C)
        hidden = F.gelu(self.feed_forward_in(self.feed_forward_norm(x)))  # (B, T, 4C)
        out: Tensor = x + self.feed_forward_out(hidden)
        return out
