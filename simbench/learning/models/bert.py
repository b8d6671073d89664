"""A small BERT: a Transformer encoder that fills in masked tokens, or classifies what it reads.

Shapes: B samples, T tokens, C width, V vocabulary.
"""

from typing import Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from simbench.learning.model import Form, Predictor
from simbench.learning.transformer import Shape, Trunk, check_heads, initialise_as_gpt_2


class BERT(Predictor):
    """Post-norm Transformer that sees all tokens at once.

    Sequences are single, so there are no embeddings of segments. Its first parameters follow
    GPT-2's rule, which is BERT's own but for what writes to the residual stream.

    Source:
        Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
        Understanding", NAACL 2019, arXiv:1810.04805.
    """

    kind: Literal["bert"] = "bert"
    objective: Literal["masked", "classification"] = "masked"
    """What it predicts: tokens that are masked, or the label of a sequence."""
    layers: PositiveInt = 2
    """Transformer blocks."""
    width: PositiveInt = 64
    """Size of the residual stream; a multiple of ``heads``."""
    heads: PositiveInt = 4
    """Attention heads per block."""
    context: PositiveInt = 64
    """Tokens that it sees at once."""
    vocabulary: PositiveInt = 257
    """Different tokens: bytes and the mask, or as many as the data have."""
    classes: PositiveInt = 2
    """Labels that it tells apart, where it classifies."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "BERT":
        check_heads(self.width, self.heads)
        return self

    @property
    def takes(self) -> Form:
        """What its objective needs."""
        return "masked tokens" if self.objective == "masked" else "labelled tokens"

    @property
    def length(self) -> int:
        """Tokens per sample."""
        return self.context

    @property
    def num_tokens(self) -> int:
        """The vocabulary."""
        return self.vocabulary

    @property
    def num_classes(self) -> int | None:
        """Labels, where it classifies."""
        return self.classes if self.objective == "classification" else None

    def build(self) -> nn.Module:
        """Return the network: (B, T) tokens in, (B, T, V) or (B, classes) logits out."""
        return _MaskedLM(self) if self.objective == "masked" else _Classifier(self)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw matrices from N(0, 0.02)."""
        initialise_as_gpt_2(module.named_parameters(), self.layers, generator)


class _Encoder(Trunk):
    def __init__(self, spec: BERT) -> None:
        shape = Shape(spec.layers, spec.width, spec.heads, causal=False, norm="post")
        super().__init__(shape, spec.vocabulary, spec.context, "learned")
        self.embedding_norm = nn.LayerNorm(spec.width)

    def encode(self, tokens: Tensor) -> Tensor:
        """Return (B, T, C)."""
        return self.through_blocks(self.embedding_norm(self.embed(tokens)))


class _MaskedLM(_Encoder):
    def __init__(self, spec: BERT) -> None:
        super().__init__(spec)
        self.transform = nn.Linear(spec.width, spec.width)
        self.transform_norm = nn.LayerNorm(spec.width)
        self.bias = nn.Parameter(torch.zeros(spec.vocabulary))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.transform_norm(F.gelu(self.transform(self.encode(tokens))))
        logits: Tensor = x @ self.token.weight.T + self.bias
        return logits


class _Classifier(_Encoder):
    def __init__(self, spec: BERT) -> None:
        super().__init__(spec)
        self.pooler = nn.Linear(spec.width, spec.width)
        self.classifier = nn.Linear(spec.width, spec.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        # The first place stands for the sequence.
        pooled = torch.tanh(self.pooler(self.encode(tokens)[:, 0]))
        logits: Tensor = self.classifier(pooled)
        return logits
