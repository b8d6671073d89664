"""Transports that know all about a message when it is sent: each message is one flow."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from simbench.network.flow import Flow, Route

if TYPE_CHECKING:
    from simbench.network.fabric import Fabric


class Terms(NamedTuple):
    """How a transport changes a flow; what the fields mean, ``Fabric.carry`` says."""

    delay_ns: int = 0
    expansion: float = 1.0
    weight: float = 1.0
    cap_bps: int | None = None


class OneFlow:
    """Carries each message as one flow, on terms of its route, its size and its hops in turn."""

    def __init__(self, fabric: "Fabric", terms: Callable[[Route, int, int], Terms]) -> None:
        self._fabric = fabric
        self._terms = terms

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        hops_in_turn: int = 1,
        *,
        cut: Callable[[int], Any] | None = None,
    ) -> Flow:
        """Begin to carry a message; what the arguments mean, ``Fabric.carry`` says."""
        terms = self._terms(self._fabric.route(sender, receiver), num_bytes, hops_in_turn)
        return self._fabric.carry(
            sender,
            receiver,
            num_bytes,
            finished,
            hops_in_turn,
            weight=terms.weight,
            cap_bps=terms.cap_bps,
            delay_ns=terms.delay_ns,
            expansion=terms.expansion,
            cut=cut,
        )
