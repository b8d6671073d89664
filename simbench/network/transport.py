"""What a transport is: what happens to a message between a node and the links."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from simbench.spec import Spec

if TYPE_CHECKING:
    from simbench.network.fabric import Fabric


class Carrier(Protocol):
    """Who takes messages from node to node."""

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        hops_in_turn: int = 1,
    ) -> Any:
        """Begin to carry a message; ``finished`` is called once, when its last byte arrives."""


class CuttableCarrier(Protocol):
    """Who takes messages from node to node, or tells that a failure has cut them."""

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        hops_in_turn: int = 1,
        *,
        cut: Callable[[int], Any] | None = None,
    ) -> Any:
        """Begin to carry a message; what the arguments mean, ``Fabric.carry`` says.

        Returns its flow, if it has one of its own.
        """


class Transport(Spec, ABC):
    """A choice of transport; its fields are the YAML keys."""

    kind: str

    merges: ClassVar[bool] = False
    """Whether one flow may stand for a chain of messages (``Collective.flows``)."""
    feels_loss: ClassVar[bool] = False
    """Whether it is slower where packets are lost."""

    @abstractmethod
    def carrier(self, fabric: "Fabric", seed: int) -> CuttableCarrier:
        """Return who takes messages over ``fabric``; ``seed`` is that of all that is drawn."""
