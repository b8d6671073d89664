"""A recurrent network that reads a sequence token by token and then classifies it."""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from simbench.learning.model import Predictor


class LSTM(Predictor):
    """An embedding, an LSTM, and a dense softmax layer on what it remembers in the end.

    Source:
        Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997, with
        the forget gate of Gers et al. 2000, as torch implements it.
    """

    kind: Literal["lstm"] = "lstm"
    embedding: PositiveInt = 64
    """Entries of the vector of a token."""
    units: PositiveInt = 128
    """Entries of what it remembers."""
    context: PositiveInt = 32
    """Tokens of a sequence."""
    vocabulary: PositiveInt = 32
    """Different tokens."""
    classes: PositiveInt = 4
    """Labels that it tells apart."""

    @property
    def takes(self) -> Literal["labelled tokens"]:
        """Sequences, each with one label."""
        return "labelled tokens"

    @property
    def length(self) -> int:
        """Tokens per sample."""
        return self.context

    @property
    def num_tokens(self) -> int:
        """The vocabulary."""
        return self.vocabulary

    @property
    def num_classes(self) -> int:
        """Labels."""
        return self.classes

    def build(self) -> nn.Module:
        """Return the network: (B, T) tokens in, (B, classes) logits out."""
        return _LSTM(self)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw all from U(-1/sqrt(units), 1/sqrt(units)), as torch does; open the forget gates."""
        bound = self.units**-0.5
        for name, parameter in module.named_parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
            if "bias_ih" in name:
                # Gates stand in the order input, forget, cell, output (Jozefowicz et al. 2015).
                nn.init.constant_(parameter.detach()[self.units : 2 * self.units], 1.0)


class _LSTM(nn.Module):
    def __init__(self, spec: LSTM) -> None:
        super().__init__()
        self.token = nn.Embedding(spec.vocabulary, spec.embedding)
        self.lstm = nn.LSTM(spec.embedding, spec.units, batch_first=True)
        self.classifier = nn.Linear(spec.units, spec.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.token(tokens))  # (B, T, units)
        logits: Tensor = self.classifier(states[:, -1])
        return logits
