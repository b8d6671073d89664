"""A Transformer in stages, and its layers in tensor-parallel parts.

Shapes: B samples, T tokens, C width, H heads, t parts.

Source:
    Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model
    Parallelism", 2019, arXiv:1909.08053, section 3: each part has H/t heads and a t-th of the
    feed-forward network, and what parts give is summed up once for each of both. Parts
    of the vocabulary stand in ``learning.vocabulary_split``.
"""

import copy
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn

from simbench.learning.model import Batch, cross_entropy
from simbench.learning.split import InTurn, Link, Part, copy_without
from simbench.learning.vocabulary_split import EmbeddingPart, Scores, Surprise


def split_transformer(whole: Any, stages: int, tensor: int) -> list[Link]:
    """Return ``whole`` as a chain of ``stages`` pieces, whose layers have ``tensor`` parts.

    Blocks are shared out as equally as can be, in their order. The embedding goes with the first
    piece and, being tied, once more with the last one. Without tensor-parallel parts, a piece is
    one link.

    Args:
        whole: a ``learning.transformer.Trunk`` whose scores are products with its embedding.
        stages: up to as many as there are blocks.
        tensor: a divisor of the number of heads, and at most the vocabulary.
    """
    num_blocks = len(whole.blocks)
    links: list[Link] = []
    is_post = whole.blocks[0].shape.norm == "post"
    for chunk in range(stages):
        first, last = (num_blocks * i // stages for i in (chunk, chunk + 1))
        rows: list[Sequence[Part]] = []
        if chunk == 0 and tensor == 1:
            rows.append([_Embedding(whole)])
        elif chunk == 0:
            rows.append([EmbeddingPart(whole, k, tensor) for k in range(tensor)])
        for index in range(first, last):
            if tensor == 1:
                rows.append([_Layer(whole, index)])
            else:
                for sublayer in (_Heads, _FeedForward):
                    rows.append([sublayer(whole, index, k, tensor) for k in range(tensor)])
                    rows += [[_Norm(whole, index, sublayer.norm_name)]] if is_post else []
        if chunk == stages - 1 and tensor == 1:
            rows.append([_Loss(whole)])
        elif chunk == stages - 1:
            rows += [[Scores(whole, k, tensor) for k in range(tensor)], [Surprise()]]
        if tensor == 1:
            rows = [[InTurn([part for row in rows for part in row])]]
        links += [Link(chunk, parts) for parts in rows]
    return links


class _Embedding(Part):
    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.trunk = copy_without(whole, "blocks", "final_norm")

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
        return cross_entropy(logits, batch[-1])

    def slices(self, whole: Any) -> Iterable[Tensor]:
        return [*whole.final_norm.parameters(), whole.token.weight]


class _Norm(Part):
    """The norm behind a sublayer, which needs the whole sum."""

    def __init__(self, whole: Any, index: int, name: str) -> None:
        super().__init__()
        self.index, self.name = index, name
        self.norm = copy.deepcopy(getattr(whole.blocks[index], name))

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        out: Tensor = self.norm(x)
        return out

    def slices(self, whole: Any) -> Iterable[Tensor]:
        return getattr(whole.blocks[self.index], self.name).parameters()  # type: ignore[no-any-return]


class _Sublayer(Part):
    """Part k of t of one sublayer; the residual and the bias behind the sum are the first's."""

    norm_name: ClassVar[str]
    inner_name: ClassVar[str]
    """A layer of whose outputs a part has its own."""
    outer_name: ClassVar[str]
    """A layer of whose inputs a part has its own."""

    def __init__(self, whole: Any, index: int, k: int, t: int) -> None:
        super().__init__()
        self.index, self.k, self.t = index, k, t
        block = whole.blocks[index]
        own = {self.inner_name, self.outer_name}
        if block.shape.norm != "post":
            own.add(self.norm_name)
        self.block = copy_without(block, *({name for name, _ in block.named_children()} - own))
        self.block.shape = replace(block.shape, heads=block.shape.heads // t)
        inner, outer = getattr(block, self.inner_name), getattr(block, self.outer_name)
        narrow = nn.Linear(inner.in_features, inner.out_features // t)
        setattr(self.block, self.inner_name, narrow.to(inner.weight))
        narrow = nn.Linear(outer.in_features // t, outer.out_features, bias=not k)
        setattr(self.block, self.outer_name, narrow.to(outer.weight))

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        assert x is not None, "the embedding comes first"
        shape = self.block.shape
        change = self.change(x if shape.norm == "post" else getattr(self.block, self.norm_name)(x))
        return x + change if shape.residual and not self.k else change

    @abstractmethod
    def change(self, x: Tensor) -> Tensor:
        """Return what the sublayer makes of ``x``."""

    @abstractmethod
    def columns(self, each: Tensor) -> Tensor:
        """Return the part's own outputs of the inner layer's weight or bias."""

    def slices(self, whole: Any) -> Iterator[Tensor]:
        block = whole.blocks[self.index]
        if block.shape.norm != "post":
            yield from getattr(block, self.norm_name).parameters()
        for each in getattr(block, self.inner_name).parameters():
            yield self.columns(each)
        outer = getattr(block, self.outer_name)
        yield outer.weight.chunk(self.t, dim=1)[self.k]
        if not self.k:
            yield outer.bias


class _Heads(_Sublayer):
    """Some heads of a layer's attention."""

    norm_name = "attention_norm"
    inner_name = "query_key_value"
    outer_name = "attention_out"

    def change(self, x: Tensor) -> Tensor:
        out: Tensor = self.block.attend(x)
        return out

    def columns(self, each: Tensor) -> Tensor:
        # Queries, keys and values of all heads, one behind the other.
        each_kind = each.reshape(3, len(each) // 3, *each.shape[1:])
        return each_kind.chunk(self.t, dim=1)[self.k].flatten(0, 1)


class _FeedForward(_Sublayer):
    """Some of the inner entries of a layer's feed-forward network."""

    norm_name = "feed_forward_norm"
    inner_name = "feed_forward_in"
    outer_name = "feed_forward_out"

    def change(self, x: Tensor) -> Tensor:
        out: Tensor = self.block.feed_forward(x)
        return out

    def columns(self, each: Tensor) -> Tensor:
        return each.chunk(self.t, dim=0)[self.k]
