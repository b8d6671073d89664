"""The parts that Transformers are built of.

Shapes: B samples, T tokens, C width, H heads, V vocabulary.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

Positions = Literal["learned", "sinusoidal", "rotary"]
Norm = Literal["pre", "post", "none"]


@dataclass(frozen=True)
class Shape:
    """What all blocks of a Transformer have in common."""

    layers: int
    width: int
    heads: int
    causal: bool
    """Whether a token sees none behind it."""
    norm: Norm = "pre"
    """Layer normalisation: of what enters a sublayer, of what leaves it with the residual, none."""
    residual: bool = True
    """Whether a sublayer's output is added to what enters it, or takes its place."""
    rotary: bool = False
    """Whether queries and keys are turned by an angle that grows with their position."""


def check_heads(width: int, heads: int) -> None:
    """Refuse a ``width`` that ``heads`` can't share.

    Raises:
        ValueError: it isn't a multiple of ``heads``.
    """
    if width % heads:
        raise ValueError(f"width {width} isn't a multiple of heads {heads}")


class Block(nn.Module):
    """Self-attention and a feed-forward network, each a sublayer: (B, T, C) in and out.

    Source:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3 (post-norm);
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (pre-norm).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.shape = shape
        self.attention_norm = _norm(shape)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_forward_norm = _norm(shape)
        self.feed_forward_in = nn.Linear(width, 4 * width)
        self.feed_forward_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return what both sublayers make of ``x``."""
        if self.shape.norm == "post":
            x = self.attention_norm(self._after(x, self.attend(x)))
            out: Tensor = self.feed_forward_norm(self._after(x, self.feed_forward(x)))
            return out
        x = self._after(x, self.attend(self.attention_norm(x)))
        return self._after(x, self.feed_forward(self.feed_forward_norm(x)))

    def _after(self, x: Tensor, change: Tensor) -> Tensor:
        return x + change if self.shape.residual else change

    def attend(self, x: Tensor) -> Tensor:
        """Return what the heads find."""
        split = self.query_key_value(x).unflatten(-1, (3, self.shape.heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each (B, H, T, C/H)
        if self.shape.rotary:
            q, k = rotate(q), rotate(k)
        y = _attention(q, k, v, causal=self.shape.causal)
        out: Tensor = self.attention_out(y.transpose(1, 2).flatten(2))  # (B, T, C)
        return out

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return what becomes of each token by itself."""
        out: Tensor = self.feed_forward_out(F.gelu(self.feed_forward_in(x)))  # via (B, T, 4C)
        return out


def _attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v, in the type of ``v``, a product that autocast has cast."""
    if v.dtype is not torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    # Autocast would go on inside, and on a GPU give vmap gradients of other types than it takes.
    with torch.autocast(v.device.type, enabled=False):
        return F.scaled_dot_product_attention(q.to(v), k.to(v), v, is_causal=causal)


class Trunk(nn.Module):
    """Embedded tokens through all blocks; what becomes of the result is the model's business."""

    def __init__(self, shape: Shape, vocabulary: int, context: int, positions: Positions) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, shape.width)
        if positions == "learned":
            self.position = nn.Embedding(context, shape.width)
        elif positions == "sinusoidal":
            self.register_buffer("waves", sinusoids(context, shape.width), persistent=False)
        self.positions = positions
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        # A post-norm block ends with one of its own.
        self.final_norm = _norm(shape) if shape.norm == "pre" else nn.Identity()

    def embed(self, tokens: Tensor) -> Tensor:
        """Return (B, T, C): what each token is and where."""
        x: Tensor = self.token(tokens)
        if self.positions == "learned":
            x = x + self.position.weight[: tokens.shape[1]]
        elif self.positions == "sinusoidal":
            # As large as the embeddings that GPT-2's rule draws, which they would drown otherwise.
            x = x + self.get_buffer("waves")[: tokens.shape[1]] * x.shape[-1] ** -0.5
        return x

    def hidden(self, tokens: Tensor) -> Tensor:
        """Return (B, T, C): what is known of each token in the end."""
        return self.through_blocks(self.embed(tokens))

    def through_blocks(self, x: Tensor) -> Tensor:
        """Return (B, T, C): what the blocks make of embedded tokens."""
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.final_norm(x)
        return out


def initialise_as_gpt_2(
    parameters: Iterable[tuple[str, nn.Parameter]], layers: int, generator: torch.Generator
) -> None:
    """Draw matrices from N(0, 0.02), those that write to the residual stream smaller.

    Source:
        Radford et al. 2019 (GPT-2), section 2.3: the stream sums up 2 * layers of those.
    """
    for name, parameter in parameters:
        if parameter.dim() == 1:
            nn.init.constant_(parameter, float(name.endswith("norm.weight")))
        else:
            out = name.endswith("out.weight")
            std = 0.02 / (2 * layers) ** 0.5 if out else 0.02
            nn.init.normal_(parameter, std=std, generator=generator)


def sinusoids(length: int, width: int) -> Tensor:
    """Return (length, width): sines and cosines of waves, from short to long, in turn.

    Source:
        Vaswani et al. 2017, section 3.5.
    """
    angles = _angles(length, width, torch.get_default_dtype(), None)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


def rotate(x: Tensor) -> Tensor:
    """Return ``x`` (B, H, T, D), each pair of entries turned by its position times a frequency.

    The product of a query and a key then depends on their distance alone.

    Source:
        Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021,
        arXiv:2104.09864, section 3.4.2.
    """
    angles = _angles(x.shape[-2], x.shape[-1], x.dtype, x.device)  # (T, D/2)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (
        even * angles.cos() - odd * angles.sin(),
        even * angles.sin() + odd * angles.cos(),
    )
    return torch.stack(turned, dim=-1).flatten(-2)


def _angles(length: int, width: int, dtype: torch.dtype, device: torch.device | None) -> Tensor:
    """Return (length, ceil(width / 2)): position times 10000^(-2i / width)."""
    pairs = torch.arange(0, width, 2, dtype=dtype, device=device)
    at = torch.arange(length, dtype=dtype, device=device)
    return at[:, None] * 10_000 ** (-pairs / width)


def _norm(shape: Shape) -> nn.Module:
    return nn.Identity() if shape.norm == "none" else nn.LayerNorm(shape.width)
