"""A small model for a large one: the clock is charged for another model than what is trained."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pydantic import PositiveInt

from simbench.spec import Spec

_BYTES: Final = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}


class Shape(Spec):
    """How a Transformer is built, as far as splitting it asks."""

    layers: PositiveInt = 48
    """All alike."""
    width: PositiveInt = 4096
    """Numbers that a token has between layers."""
    heads: PositiveInt = 32
    """Of queries, in each layer."""
    vocabulary: PositiveInt = 32_000
    """Different tokens."""
    tied: bool = True
    """Whether embedding and output head are the same parameters."""

    @property
    def embedding_parameters(self) -> int:
        """Of the embedding, and as many of the output head."""
        return self.vocabulary * self.width

    @property
    def vocabulary_parameters(self) -> int:
        """Of embedding and output head together, once where they are the same."""
        return self.embedding_parameters * (1 if self.tied else 2)


class LargeModel(NamedTuple):
    """The model that is charged for."""

    name: str
    num_parameters: int
    flops: int
    """Floating-point operations of a forward and a backward pass over one ``unit``."""
    unit: Literal["token", "sample"]
    source: str | None
    """Where the figures are from; None where they are the scenario's own."""
    shape: Shape | None = None
    """Of a Transformer; None of anything else, and where the source doesn't tell."""


def flops_per_token(num_parameters: int) -> int:
    """Return 6N: what a token costs a dense Transformer, forward 2N and backward 4N.

    Attention over long contexts isn't in it, nor is a forward pass that checkpointing repeats.

    Source:
        Kaplan et al., "Scaling Laws for Neural Language Models", 2020, arXiv:2001.08361, section
        2.1.
    """
    return 6 * num_parameters


class Pricing(Spec, ABC):
    """A choice of what the clock is charged for; its fields are the YAML keys."""

    kind: str
    precision: Literal["fp32", "bf16", "fp16", "fp8"] = "bf16"
    """The format in which parameters and gradients are kept and sent."""
    tokens_per_sample: PositiveInt | None = None
    """Tokens that a sample is charged for; by default as many as are trained on."""

    @property
    @abstractmethod
    def model(self) -> LargeModel:
        """What is charged for."""

    @property
    def parameter_bytes(self) -> int:
        """Bytes of one parameter."""
        return _BYTES[self.precision]

    def sample_flops(self, num_tokens: int | None) -> int:
        """Return the FLOPs of one sample.

        Args:
            num_tokens: that a sample has which is trained on; None if it has none.

        Raises:
            ValueError: they go by tokens, and nobody says how many a sample has.
        """
        model = self.model
        if model.unit == "sample":
            return model.flops
        tokens = self.tokens_per_sample or num_tokens
        if tokens is None:
            raise ValueError(
                f"FLOPs of {model.name} go by tokens, and samples of this model have none: say "
                "how many to charge for"
            )
        return model.flops * tokens


@dataclass(frozen=True)
class Charge:
    """What vectors of a model of ``length`` entries are charged, if all are ``num_parameters``.

    The first k entries are charged for the first floor(k num_parameters / length) parameters, so
    that the pieces of a vector add up to the whole, however it is cut.

    >>> price = Charge(length=3, num_parameters=10, parameter_bytes=2)
    >>> [price.between(0, 1), price.between(1, 2), price.between(2, 3)], price.between(0, 3)
    ([6, 6, 8], 20)
    """

    length: int
    num_parameters: int
    """At least ``length``."""
    parameter_bytes: int

    def between(self, begin: int, end: int) -> int:
        """Return the bytes of entries ``begin`` to ``end``."""
        return (self._parameters(end) - self._parameters(begin)) * self.parameter_bytes

    def entries_within(self, num_bytes: int) -> int:
        """Return how many entries are charged ``num_bytes`` at most, counted from the first."""
        # The most k with floor(k num_parameters / length) <= m, in whole numbers.
        return ((num_bytes // self.parameter_bytes + 1) * self.length - 1) // self.num_parameters

    def payload(self, num_bytes: int) -> int:
        """Return the bytes of a payload of ``num_bytes``, in proportion to entries, rounded up."""
        return -(-num_bytes * self.num_parameters // self.length)

    def _parameters(self, num_entries: int) -> int:
        return num_entries * self.num_parameters // self.length
