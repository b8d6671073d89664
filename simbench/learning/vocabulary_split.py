"""Tensor-parallel parts of a Transformer's vocabulary: of its embedding, its scores and the loss.

Shapes: B samples, T tokens, C width, V vocabulary, t parts.

Source:
    Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model
    Parallelism", 2019, arXiv:1909.08053, section 3: each part has a t-th of all tokens. Embeddings
    are summed up, and of scores no more than three numbers a token leave a device.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from simbench.learning.model import IGNORED, Batch
from simbench.learning.split import Part, copy_without


class _Rows(nn.Module):
    """Part k of t of the embeddings: those of some tokens, zeros for all others."""

    def __init__(self, whole: Any, k: int, t: int) -> None:
        super().__init__()
        self.begin, self.end = (whole.token.num_embeddings * i // t for i in (k, k + 1))
        self.weight = nn.Parameter(self.slice(whole).detach().clone())

    def slice(self, whole: Any) -> Tensor:
        """Return its rows of ``whole``'s."""
        rows: Tensor = whole.token.weight[self.begin : self.end]
        return rows

    def find(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return whether each of ``tokens`` has a row here, and which: 0 where it has none."""
        is_here = (tokens >= self.begin) & (tokens < self.end)
        return is_here, (tokens - self.begin) * is_here

    def forward(self, tokens: Tensor) -> Tensor:
        is_here, rows = self.find(tokens)
        return F.embedding(rows, self.weight) * is_here[..., None]


class EmbeddingPart(Part):
    """Part k of t of the embedding; where a token stands is the first's to add."""

    of_vocabulary = True

    def __init__(self, whole: Any, k: int, t: int) -> None:
        super().__init__()
        self.has_places = not k and whole.positions == "learned"
        others = () if self.has_places or whole.positions != "learned" else ("position",)
        self.trunk = copy_without(whole, "blocks", "final_norm", "token", *others)
        self.trunk.token = _Rows(whole, k, t)
        if k:
            # Rotary ones are the layers' business: nothing is added here.
            self.trunk.positions = "rotary"

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        """Return (B, T, C): embeddings of its own tokens."""
        out: Tensor = self.trunk.embed(batch[0])  # (B, T, C)
        return out

    def slices(self, whole: Any) -> Iterator[Tensor]:
        """Yield places, where it has them, and its rows."""
        if self.has_places:
            yield whole.position.weight
        yield self.trunk.token.slice(whole)


class Scores(Part):
    """What part k of t says of a token: its highest score, a sum of exponentials, the target's.

    No device sees the scores of another. The sum is that of exp(score - highest); the target's
    score is 0 where another part has that.
    """

    of_vocabulary = True
    numbers = 3

    def __init__(self, whole: Any, k: int, t: int) -> None:
        super().__init__()
        self.k, self.t = k, t
        self.final_norm = copy.deepcopy(whole.final_norm)
        self.rows = _Rows(whole, k, t)

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        """Return (B, T, 3, t): its numbers, zeros in the places of other parts."""
        logits = self.final_norm(x) @ self.rows.weight.T  # (B, T, V/t)
        # It cancels out in the loss, so no gradient need go through it.
        highest = logits.detach().amax(-1)
        total = (logits - highest[..., None]).exp().sum(-1)
        is_here, places = self.rows.find(batch[-1])
        target = logits.gather(-1, places[..., None])[..., 0] * is_here
        own = torch.stack([highest, total, target], dim=-1)[..., None]
        return F.pad(own, (self.k, self.t - 1 - self.k))  # (B, T, 3, t)

    def slices(self, whole: Any) -> Iterable[Tensor]:
        """Return the norm's parameters and its rows."""
        return [*whole.final_norm.parameters(), self.rows.slice(whole)]


class Surprise(Part):
    """The cross-entropy, out of what all parts say of their scores."""

    def forward(self, x: Tensor | None, batch: Batch) -> Tensor:
        """Return the mean over the targets that are to be predicted."""
        assert x is not None, "scores come first"
        highest, totals, targets = x.unbind(2)  # each (B, T, t)
        top = highest.detach().amax(-1, keepdim=True)
        total = (totals * (highest - top).exp()).sum(-1)
        surprise = total.log() + top[..., 0] - targets.sum(-1)
        counted = batch[-1] != IGNORED
        return (surprise * counted).sum() / counted.sum()

    def slices(self, whole: Any) -> Iterable[Tensor]:
        """Return none: it has no parameters."""
        return []
