"""A model whose figures the user has."""

from typing import Literal

from pydantic import PositiveInt, model_validator

from simbench.learning.pricing import LargeModel, Pricing, Shape, flops_per_token
from simbench.spec import misfit


class Custom(Pricing):
    """``parameters``, and the FLOPs of a token or a sample: by default 6 per parameter and token.

    Source:
        Kaplan et al., "Scaling Laws for Neural Language Models", 2020, arXiv:2001.08361, section
        2.1.
    """

    kind: Literal["custom"] = "custom"
    name: str = "a larger model"
    """What reports call it."""
    parameters: PositiveInt = 10 * 10**9
    """How many it has; at least as many as are trained."""
    flops_per_token: PositiveInt | None = None
    """Of a forward and a backward pass over one token; by default 6 per parameter."""
    flops_per_sample: PositiveInt | None = None
    """The same over a whole sample, in the place of ``flops_per_token``."""
    shape: Shape | None = None
    """How its layers are built, which ``parallel`` needs unless it is for sharding alone."""

    @model_validator(mode="after")
    def _goes_by_one_of_both(self) -> "Custom":
        if self.flops_per_sample is None:
            return self
        for key in ("flops_per_token", "tokens_per_sample"):
            if getattr(self, key) is not None:
                raise misfit((key,), "has no effect where flops_per_sample is given")
        return self

    @model_validator(mode="after")
    def _has_layers(self) -> "Custom":
        shape = self.shape
        if shape is None:
            return self
        if shape.vocabulary_parameters >= self.parameters:
            raise misfit(
                ("shape",),
                f"its embeddings have {shape.vocabulary_parameters:,} parameters, which leaves "
                f"none of {self.parameters:,} to its layers",
            )
        return self

    @property
    def model(self) -> LargeModel:
        """What the fields say."""
        if self.flops_per_sample is not None:
            return LargeModel(
                self.name, self.parameters, self.flops_per_sample, "sample", None, self.shape
            )
        flops = self.flops_per_token or flops_per_token(self.parameters)
        return LargeModel(self.name, self.parameters, flops, "token", None, self.shape)
