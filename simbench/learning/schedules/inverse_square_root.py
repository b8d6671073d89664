"""Decay as one over the root of the number of steps."""

from typing import Literal

from pydantic import PositiveInt

from simbench.learning.schedule import Schedule


class InverseSquareRoot(Schedule):
    """sqrt(timescale / (timescale + t)); after a warm-up of ``timescale`` steps, 1 / sqrt(step).

    Source:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762, equation 3;
        Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
        Transformer", JMLR 2020, arXiv:1910.10683, section 3.1.2.
    """

    kind: Literal["inverse_square_root"] = "inverse_square_root"
    timescale: PositiveInt = 100
    """Steps that count as done when it begins: those of the warm-up before it."""
    steps: PositiveInt | None = None
    """How long until the next schedule begins; by default for ever."""

    @property
    def duration(self) -> int | None:
        """``steps``."""
        return self.steps

    def factor_at(self, step: int, num_workers: int) -> float:
        """Return 1 at first, and half of it after three times ``timescale``."""
        return float((self.timescale / (self.timescale + step)) ** 0.5)
