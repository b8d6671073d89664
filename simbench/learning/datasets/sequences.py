"""Sequences of tokens with a label each, of which it is known how well they can be told."""

import functools
from typing import Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from simbench.learning.dataset import Samples, in_parts
from simbench.learning.model import Batch
from simbench.seeds import generator
from simbench.spec import misfit

_PART_SAMPLES = 125


class Sequences(Samples):
    """Somewhere in each sequence a token stands ``marks`` times that tells its class.

    Everything else is noise, which is drawn evenly from tokens that tell nothing. A share ``noise``
    of the labels is another class's, each as likely. So nobody can do better than 1 - noise.
    """

    kind: Literal["sequences"] = "sequences"
    samples: PositiveInt = 2000
    """For training, over all nodes."""
    validation_samples: PositiveInt = 1000
    """Held out."""
    vocabulary: PositiveInt = 32
    """Different tokens; the first ``classes`` of them tell one each."""
    classes: int = Field(default=4, ge=2)
    """Labels."""
    marks: PositiveInt = 3
    """How often the token that tells the class stands in a sequence."""
    noise: float = Field(default=0.1, ge=0, lt=1)
    """Share of labels that are wrong."""
    data_seed: NonNegativeInt = 0
    """Names the sequences; runs with other seeds meet the same ones."""

    @model_validator(mode="after")
    def _can_be_told(self) -> "Sequences":
        if self.vocabulary <= self.classes:
            raise misfit(("vocabulary",), f"needs tokens beside those of {self.classes} classes")
        if 1 - self.noise <= self.noise / (self.classes - 1):
            raise misfit(
                ("noise",), "so many labels are wrong that the right one isn't the likeliest"
            )
        return self

    @property
    def yields(self) -> Literal["labelled tokens"]:
        """Sequences, each with one label."""
        return "labelled tokens"

    @property
    def num_tokens(self) -> int:
        """The vocabulary."""
        return self.vocabulary

    @property
    def num_classes(self) -> int:
        """Labels."""
        return self.classes

    @property
    def best_accuracy(self) -> float:
        """What who knows the law gets on average: 1 - noise."""
        return 1 - self.noise

    @property
    def content(self) -> str:
        """Nothing is read."""
        return ""

    @property
    def has_labels(self) -> bool:
        """Every sequence is of a class."""
        return True

    def labels(self, length: int) -> np.ndarray:
        """Return the labels that are trained on, wrong ones among them."""
        return _sequences(self, "training", self.samples, length)[1].numpy()

    def num_samples(self, length: int) -> int:
        """Return ``samples``."""
        return self.samples

    def take(self, indices: np.ndarray, length: int) -> Batch:
        """Return (B, length) tokens and (B,) labels."""
        tokens, labels = _sequences(self, "training", self.samples, length)
        chosen = torch.from_numpy(indices)
        return tokens[chosen], labels[chosen]

    def validation(self, num_shards: int, length: int) -> tuple[Batch, ...]:
        """Return the held-out sequences in parts of 125."""
        held_out = _sequences(self, "validation", self.validation_samples, length)
        return in_parts(held_out, _PART_SAMPLES)


@functools.cache
def _sequences(spec: Sequences, purpose: str, count: int, length: int) -> Batch:
    if length < spec.marks:
        raise ValueError(f"{spec.marks} marks don't fit into sequences of {length} tokens")
    draw = generator(spec.data_seed, f"sequences {purpose}", 0, 0)
    classes = draw.integers(0, spec.classes, count)
    tokens = draw.integers(spec.classes, spec.vocabulary, (count, length))
    places = draw.random((count, length)).argsort(axis=1)[:, : spec.marks]
    np.put_along_axis(tokens, places, classes[:, None], axis=1)
    others = draw.integers(1, spec.classes, count)
    wrong = draw.random(count) < spec.noise
    labels = np.where(wrong, (classes + others) % spec.classes, classes)
    return torch.from_numpy(tokens), torch.from_numpy(labels)
