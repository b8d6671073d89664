"""One bit per entry: its sign."""

from typing import Literal

import torch
from pydantic import model_validator
from torch import Tensor

from simbench.learning.compressor import Compression, Layout, Payload, Turn
from simbench.learning.packing import pack, packed_bytes, unpack
from simbench.spec import misfit


class SignSGD(Compression):
    """Eight signs a byte; the sign of 0 is +.

    ``scaled``: signs times the mean |x|, a float32 more, with error feedback (EF-signSGD).
    ``plain``: signs alone. ``majority_vote``: signs alone, and whoever averages goes on with the
    sign that most have sent, 0 if it is a draw. The last two forget how large x was: they are for
    gradients, and there is nothing to feed back.

    Source:
        Bernstein et al., "signSGD: Compressed Optimisation for Non-Convex Problems", ICML 2018,
        arXiv:1802.04434 (plain, algorithm 1; majority vote, algorithm 3); Karimireddy et al.,
        "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", ICML 2019,
        arXiv:1901.09847, algorithm 1 (scaled).
    """

    kind: Literal["signsgd"] = "signsgd"
    error_feedback: bool = True
    """Whether what a payload leaves out is kept, and added to the next vector."""
    variant: Literal["scaled", "plain", "majority_vote"] = "scaled"
    """What becomes of the signs."""

    @model_validator(mode="after")
    def _can_be_fed_back(self) -> "SignSGD":
        if self.error_feedback and self.variant != "scaled":
            raise misfit(
                ("error_feedback",),
                f"expected false with variant {self.variant}: signs without a scale leave nothing "
                "that could be told",
            )
        return self

    @property
    def takes_sign(self) -> bool:
        """If there is a vote."""
        return self.variant == "majority_vote"

    @property
    def keeps_scale(self) -> bool:
        """If it is sent."""
        return self.variant == "scaled"

    def payload_bytes(self, layout: Layout) -> int:
        """Return an eighth of a byte per entry, and 4 bytes of scale."""
        return packed_bytes(layout.length, 1) + 4 * self.keeps_scale

    def encode(self, vector: Tensor, layout: Layout, turn: Turn) -> Payload:
        """Return packed signs, uint8, and the mean |x|, float32, where it is sent."""
        signs = pack((vector >= 0).to(torch.uint8), bits=1)
        return (signs, vector.abs().mean().float()) if self.keeps_scale else (signs,)

    def decode(self, payload: Payload, layout: Layout) -> Tensor:
        """Return +1 or -1, times the scale."""
        signs, *scale = payload
        vector = 2 * unpack(signs, 1, layout.length).to(layout.dtype) - 1
        return vector * scale[0] if scale else vector
