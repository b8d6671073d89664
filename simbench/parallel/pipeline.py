"""What a pipeline is: stages of the model in a row, and the order in which each does its work."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from pydantic import PositiveInt

from simbench.spec import Spec


class Work(NamedTuple):
    """One pass of one micro-batch through one chunk of the model."""

    is_forward: bool
    chunk: int
    """Counted along the model; chunk c lies on stage c mod ``stages``."""
    microbatch: int


class Pipeline(Spec, ABC):
    """A choice of schedule; its fields are the YAML keys."""

    kind: str
    stages: PositiveInt = 4
    """Devices in a row, each of which has a part of the model."""
    microbatches: PositiveInt = 8
    """Equal parts of a batch, which go through the stages one behind the other."""

    @property
    def chunks_per_stage(self) -> int:
        """Pieces of the model that one stage has."""
        return 1

    @property
    def num_chunks(self) -> int:
        """Pieces of the model."""
        return self.stages * self.chunks_per_stage

    @abstractmethod
    def order(self, stage: int) -> list[Work]:
        """Return all that ``stage`` does in a step, in its order.

        Each micro-batch goes forward and backward once through each of the stage's chunks. A
        stage begins with the next when that has arrived, and until then it waits.
        """
