"""Text, token by token: CPython's own documentation, or the user's files."""

from typing import Literal

import numpy as np
import torch

from simbench.learning.corpus import Corpus, windows
from simbench.learning.model import Batch


class Text(Corpus):
    """Windows of a text, and the tokens that follow each of theirs."""

    kind: Literal["text"] = "text"

    @property
    def yields(self) -> Literal["tokens"]:
        """Tokens, and those that follow each."""
        return "tokens"

    @property
    def num_tokens(self) -> int:
        """Bytes or pieces."""
        return self.num_pieces

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, length) tokens and, as targets, the tokens that follow each."""
        return _shifted(self.training_line(), indices, length)

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return evenly spaced windows of the held-out text, 16 in a part."""
        held_out, parts = self.held_out_starts(length)
        return tuple(_shifted(held_out, starts, length) for starts in parts)


def _shifted(line: np.ndarray, starts: np.ndarray, length: int) -> Batch:
    tokens = torch.from_numpy(windows(line, starts, length + 1))
    return tokens[:, :-1], tokens[:, 1:]
