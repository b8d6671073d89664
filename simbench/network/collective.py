"""What an all-reduce algorithm is: a handful of flows with their latency terms."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from simbench.spec import Spec


class CollectiveFlow(NamedTuple):
    """All the messages of a collective from one node to another, as one flow."""

    sender: int
    receiver: int
    num_bytes: int
    hops_in_turn: int
    """Messages that wait for each other along the way: each adds one latency."""


class AllReduce(Spec, ABC):
    """A choice of algorithm; its fields are the YAML keys.

    It decides when the mean arrives. The value of the mean is the same for all of them.
    """

    kind: str

    @abstractmethod
    def flows(self, num_bytes: int, ranks: tuple[int, ...]) -> list[CollectiveFlow]:
        """Return the flows, which start together when the last of ``ranks`` has joined.

        The collective is over for all of them when the last flow has arrived.
        """
