"""TCP's connections over the fabric, as they are needed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simbench.network.acknowledgements import Acknowledgements
from simbench.network.connection import Connection
from simbench.network.flow import SharedLink

if TYPE_CHECKING:
    from simbench.network.fabric import Fabric
    from simbench.network.transports.tcp import TCP


class Connections:
    """A connection from each node to each other, as they are needed."""

    def __init__(self, tcp: "TCP", fabric: "Fabric", seed: int) -> None:
        self.tcp = tcp
        self.fabric = fabric
        self.seed = seed
        self.acknowledgements = Acknowledgements(fabric, tcp.acknowledgement / (2 * tcp.frame))
        self.on: dict[SharedLink, dict[Connection, None]] = {}
        """The connections that send over each link now."""
        self._connections: dict[tuple[int, int], Connection] = {}

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        hops_in_turn: int = 1,
        *,
        cut: Callable[[int], Any] | None = None,
    ) -> None:
        """Send a message behind those that go the same way."""
        assert hops_in_turn == 1, "a flow that stands for several messages has no place on TCP"
        self.between(sender, receiver).send(num_bytes, finished, cut)

    def between(self, sender: int, receiver: int) -> Connection:
        """Return the connection from ``sender`` to ``receiver``."""
        found = self._connections.get((sender, receiver))
        if found is None:
            found = self._connections[sender, receiver] = Connection(self, sender, receiver)
        return found
