"""A small GPT: a decoder-only Transformer that predicts the next byte.

Shapes: B samples, T tokens, C width, H heads, V vocabulary.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from simbench.learning.model import Batch, Model
from simbench.learning.split import Link
from simbench.learning.transformer_split import split_transformer
from simbench.spec import misfit

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

    def split(self, stages: int, tensor: int) -> Sequence[Link]:
        """Return the network as a chain; see ``learning.transformer_split``."""
        if stages > self.layers:
            raise misfit(("pipeline",), f"{self.layers} layers can't make {stages} stages")
        if self.heads % tensor:
            raise misfit(("tensor",), f"{self.heads} heads aren't a multiple of {tensor} devices")
        return split_transformer(self.build(), stages, tensor)

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
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.final_norm(x) @ self.token.weight.T  # (B, T, V)
        return logits

    def embed(self, tokens: Tensor) -> Tensor:
        """Return (B, T, C): what each token is and where."""
        x: Tensor = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        return x


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
        x = x + self.attend(self.attention_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))

    def attend(self, x: Tensor) -> Tensor:
        """Return what the heads find, (B, T, C)."""
        split = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each (B, H, T, C/H)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.attention_out(y.transpose(1, 2).flatten(2))
        return out

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return what becomes of each token, (B, T, C), by way of (B, T, 4C)."""
        out: Tensor = self.feed_forward_out(F.gelu(self.feed_forward_in(x)))
        return out
