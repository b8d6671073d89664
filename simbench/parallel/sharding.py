"""What sharding is: devices with the same part of the model, each keeping a share of its state."""

from abc import ABC
from typing import ClassVar

from pydantic import PositiveInt

from simbench.spec import Spec


class StateSharding(Spec, ABC):
    """A choice of what is shared out among the devices; its fields are the YAML keys.

    Each takes its share of the batch. At the end of a step gradients are reduce-scattered, each
    device steps on its share, and parameters are all-gathered, or gathered when they are needed.
    """

    kind: str
    devices: PositiveInt = 4
    """How many share."""

    shares_gradient: ClassVar[bool]
    """Whether a device keeps its share of the gradient only."""
    shares_parameters: ClassVar[bool]
    """Whether a device keeps its share of the parameters only, and gathers them for each pass."""

    def state_bytes(self, vector_bytes: int, state_vectors: int) -> int:
        """Return what a device keeps of parameters, gradient and optimiser's state.

        Args:
            vector_bytes: of the parameters that the devices work on together.
            state_vectors: what the optimiser keeps, in vectors of that size.
        """
        share = -(-vector_bytes // self.devices)
        parameters = share if self.shares_parameters else vector_bytes
        gradient = share if self.shares_gradient else vector_bytes
        return parameters + gradient + state_vectors * share
