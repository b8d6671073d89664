"""A model that has a name: its parameters and FLOPs are looked up."""

from typing import Literal

from pydantic import Field, model_validator

from simbench.learning.known_models import KNOWN_MODELS
from simbench.learning.pricing import LargeModel, Pricing
from simbench.spec import misfit, unknown_name


class Known(Pricing):
    """A model known by its name, with the source of its figures.

    Source:
        That of each row of ``simbench.learning.known_models``.
    """

    kind: Literal["known"] = "known"
    name: str = Field(default="llama-3-8b", json_schema_extra={"enum": [*KNOWN_MODELS]})
    """Its name, such as gpt2-xl, llama-3-8b, bert-base or resnet-50."""

    @model_validator(mode="after")
    def _is_known(self) -> "Known":
        if self.name not in KNOWN_MODELS:
            message = unknown_name(self.name, list(KNOWN_MODELS), "model").message()
            raise misfit(("name",), message)
        if self.tokens_per_sample is not None and self.model.unit == "sample":
            raise misfit(
                ("tokens_per_sample",), f"has no effect: FLOPs of {self.name} go by samples"
            )
        return self

    @property
    def model(self) -> LargeModel:
        """The row of the table."""
        return KNOWN_MODELS[self.name]
