"""A Transformer in stages, and its layers in tensor-parallel parts.

Shapes: B samples, T tokens, C width, H heads, t parts.

Source:
    Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model
    Parallelism", 2019, arXiv:1909.08053, section 3: each part has H/t heads and a t-th of the
    feed-forward network, and what parts give is summed up once for each of both.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from simbench.learning.split import InTurn, Link, Part


def split_transformer(whole: Any, stages: int, tensor: int) -> list[Link]:
    """Return ``whole`` as a chain of ``stages`` pieces, whose layers have ``tensor`` parts.

    Blocks are shared out as equally as can be, in their order. The embedding goes with the first
    piece and, being tied, once more with the last one. Without tensor-parallel parts, a piece is
    one link.

    Args:
        whole: of the form of ``learning.models.gpt``; its parameters are copied.
        stages: up to as many as there are blocks.
        tensor: a divisor of the number of heads.
    """
    num_blocks = len(whole.blocks)
    links: list[Link] = []
    for chunk in range(stages):
        first, last = (num_blocks * i // stages for i in (chunk, chunk + 1))
        rows: list[Sequence[Part]] = [[_Embedding(whole)]] if chunk == 0 else []
        for index in range(first, last):
            if tensor == 1:
                rows.append([_Layer(whole, index)])
            else:
                rows.append([_Heads(whole, index, k, tensor) for k in range(tensor)])
                rows.append([_FeedForward(whole, index, k, tensor) for k in range(tensor)])
        if chunk == stages - 1:
            rows.append([_Loss(whole)])
        if tensor == 1:
            rows = [[InTurn([part for row in rows for part in row])]]
        links += [Link(chunk, parts) for parts in rows]
    return links


Batch = tuple[Tensor, ...]
"""Tokens (B, T), and those that follow each."""


class _Embedding(Part):
    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.trunk = _copy_without(whole, "blocks", "final_norm")

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        out: Tensor = self.trunk.embed(batch[0])  # (B, T, C)
        return out

    def slices(self, whole: Any) -> Iterable[Tensor]:
        return [p for name, p in whole.named_parameters() if name.startswith(("token", "position"))]


class _Layer(Part):
    def __init__(self, whole: Any, index: int) -> None:
        super().__init__()
        self.index = index
        self.block = copy.deepcopy(whole.blocks[index])

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        out: Tensor = self.block(x)
        return out

    def slices(self, whole: Any) -> Iterable[Tensor]:
        return whole.blocks[self.index].parameters()  # type: ignore[no-any-return]


class _Loss(Part):
    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.final_norm = copy.deepcopy(whole.final_norm)
        self.token = copy.deepcopy(whole.token)

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        logits = self.final_norm(x) @ self.token.weight.T  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1), batch[1].flatten())

    def slices(self, whole: Any) -> Iterable[Tensor]:
        return [*whole.final_norm.parameters(), whole.token.weight]


class _Sublayer(Part):
    """Part k of t of one sublayer; the residual and the bias behind the sum are the first's."""

    def __init__(self, whole: Any, index: int, k: int, t: int) -> None:
        super().__init__()
        self.index, self.k, self.t = index, k, t

    def _columns(self, inner: nn.Linear) -> nn.Linear:
        """Return a layer like ``inner`` with a t-th of its outputs."""
        size = inner.out_features // self.t
        return nn.Linear(inner.in_features, size).to(inner.weight)

    def _rows(self, outer: nn.Linear) -> nn.Linear:
        """Return a layer like ``outer`` with a t-th of its inputs."""
        size = outer.in_features // self.t
        return nn.Linear(size, outer.out_features, bias=not self.k).to(outer.weight)

    def _slices_of_rows(self, outer: nn.Linear) -> Iterator[Tensor]:
        yield outer.weight.chunk(self.t, dim=1)[self.k]
        if not self.k:
            yield outer.bias

    def _with_residual(self, x: Tensor, change: Tensor) -> Tensor:
        return change if self.k else x + change


class _Heads(_Sublayer):
    """Some heads of a layer's attention."""

    def __init__(self, whole: Any, index: int, k: int, t: int) -> None:
        super().__init__(whole, index, k, t)
        block = _copy_without(
            whole.blocks[index], "feed_forward_norm", "feed_forward_in", "feed_forward_out"
        )
        block.heads //= t
        block.query_key_value = self._columns(block.query_key_value)
        block.attention_out = self._rows(block.attention_out)
        self.block = block

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        assert x is not None, "the embedding comes first"
        return self._with_residual(x, self.block.attend(self.block.attention_norm(x)))

    def slices(self, whole: Any) -> Iterator[Tensor]:
        block = whole.blocks[self.index]
        yield from block.attention_norm.parameters()
        for each in block.query_key_value.parameters():
            # Queries, keys and values of all heads, one behind the other.
            yield each.unflatten(0, (3, -1)).chunk(self.t, dim=1)[self.k].flatten(0, 1)
        yield from self._slices_of_rows(block.attention_out)


class _FeedForward(_Sublayer):
    """Some of the inner entries of a layer's feed-forward network."""

    def __init__(self, whole: Any, index: int, k: int, t: int) -> None:
        super().__init__(whole, index, k, t)
        block = _copy_without(
            whole.blocks[index], "attention_norm", "query_key_value", "attention_out"
        )
        block.feed_forward_in = self._columns(block.feed_forward_in)
        block.feed_forward_out = self._rows(block.feed_forward_out)
        self.block = block

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        assert x is not None, "the embedding comes first"
        return self._with_residual(x, self.block.feed_forward(self.block.feed_forward_norm(x)))

    def slices(self, whole: Any) -> Iterator[Tensor]:
        block = whole.blocks[self.index]
        yield from block.feed_forward_norm.parameters()
        for each in block.feed_forward_in.parameters():
            yield each.chunk(self.t, dim=0)[self.k]
        yield from self._slices_of_rows(block.feed_forward_out)


def _copy_without(module: Any, *names: str) -> Any:
    """Return a copy of ``module`` that lacks the parts ``names``."""
    # Shared, not copied, and then let go of.
    kept = {id(getattr(module, name)): getattr(module, name) for name in names}
    smaller = copy.deepcopy(module, kept)
    for name in names:
        delattr(smaller, name)
    return smaller
