"""Text with tokens masked, which are to be filled in."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from simbench.learning.corpus import Corpus, windows
from simbench.learning.model import IGNORED, Batch
from simbench.seeds import generator


class MaskedText(Corpus):
    """Windows of a text, of which a share of the tokens is to be predicted.

    Of those, 80 % read as a mask, 10 % as a random token and 10 % as they are. Which they are
    depends on where the window begins, and their number on its length alone.

    Source:
        Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
        Understanding", NAACL 2019, arXiv:1810.04805, section 3.1.
    """

    kind: Literal["masked_text"] = "masked_text"
    share: float = Field(default=0.15, gt=0, le=1)
    """Share of a window's tokens that are to be predicted, at least one."""

    @property
    def yields(self) -> Literal["masked tokens"]:
        """Tokens, and what stood where some are masked."""
        return "masked tokens"

    @property
    def num_tokens(self) -> int:
        """Bytes or pieces, and the mask."""
        return self.num_pieces + 1

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, length) tokens and, as targets, what stood in the chosen places."""
        return self._masked(self.training_line(), indices, length, "mask")

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return evenly spaced windows of the held-out text, 16 in a part."""
        held_out, parts = self.held_out_starts(length)
        return tuple(self._masked(held_out, starts, length, "held-out mask") for starts in parts)

    def _masked(self, line: np.ndarray, starts: np.ndarray, length: int, purpose: str) -> Batch:
        tokens = windows(line, starts, length)
        targets = np.full_like(tokens, IGNORED)
        count = max(1, round(self.share * length))
        for row, start in enumerate(starts):
            draw = generator(0, purpose, int(start), 0)
            places = draw.permutation(length)[:count]
            targets[row, places] = tokens[row, places]
            reads_as = draw.random(count)
            tokens[row, places[reads_as < 0.8]] = self.num_pieces
            replaced = places[reads_as >= 0.9]
            tokens[row, replaced] = draw.integers(0, self.num_pieces, len(replaced))
        return torch.from_numpy(tokens), torch.from_numpy(targets)
