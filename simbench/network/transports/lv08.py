"""SimGrid's default model of TCP, for comparison."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from simbench.network.flow import Flow
from simbench.network.transport import CuttableCarrier, Transport

if TYPE_CHECKING:
    from simbench.network.fabric import Fabric


class LV08(Transport):
    """A message takes 13.01 latency + bytes/(0.97 bandwidth), with the shares of long round trips.

    On a full link a flow has a share in proportion to 1/(latency + the sum of 20537/bandwidth
    over its links), and no flow is faster than gamma/(2 latency). Acknowledgements (SimGrid's
    ``network/crosstraffic``) aren't modelled.

    Source:
        Velho and Legrand, "Accuracy study and improvement of network simulation in the SimGrid
        framework", SIMUTools 2009; the constants are those of SimGrid's model ``LV08``.
    """

    kind: Literal["lv08"] = "lv08"
    bandwidth_factor: PositiveFloat = 0.97
    """Part of the bandwidth that data get."""
    latency_factor: PositiveFloat = 13.01
    """By what the latency of a path is multiplied."""
    weight: NonNegativeFloat = 20537.0
    """Bytes of which each link's time adds to the latency where shares are concerned."""
    gamma: PositiveFloat = 4194304.0
    """Largest window in bytes."""

    def carrier(self, fabric: "Fabric", seed: int) -> CuttableCarrier:
        """Return who multiplies."""
        return _Carrier(self, fabric)


class _Carrier:
    """Carries each message as one flow with the model's factors."""

    def __init__(self, spec: LV08, fabric: "Fabric") -> None:
        self._spec = spec
        self._fabric = fabric

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
        spec, route = self._spec, self._fabric.route(sender, receiver)
        latency_s = route.latency_ns / 1e9
        felt_s = latency_s + sum(8 * spec.weight / link.rate_bps for link in route.links)
        cap_bps = round(8 * spec.gamma / (2 * latency_s)) if latency_s > 0 else None
        return self._fabric.carry(
            sender,
            receiver,
            num_bytes,
            finished,
            hops_in_turn,
            weight=1 / felt_s if felt_s > 0 else 1.0,
            cap_bps=cap_bps,
            delay_ns=round((spec.latency_factor - 1) * max(0, route.latency_ns) * hops_in_turn),
            expansion=1 / spec.bandwidth_factor,
            cut=cut,
        )
