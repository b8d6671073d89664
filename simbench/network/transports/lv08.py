"""SimGrid's default model of TCP, for comparison."""

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from simbench.network.flow import Route
from simbench.network.one_flow import OneFlow, Terms
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
        return OneFlow(fabric, self._terms)

    def _terms(self, route: Route, num_bytes: int, hops_in_turn: int) -> Terms:
        # Where there is no way, the message is cut at once.
        latency_ns = max(0, route.latency_ns)
        latency_s = latency_ns / 1e9
        felt_s = latency_s + sum(
            # A link may stand still for a while.
            8 * self.weight / max(1, link.rate_bps)
            for link in route.links
        )
        return Terms(
            delay_ns=round((self.latency_factor - 1) * latency_ns * hops_in_turn),
            expansion=1 / self.bandwidth_factor,
            weight=1 / felt_s if felt_s > 0 else 1.0,
            cap_bps=round(8 * self.gamma / (2 * latency_s)) if latency_s else None,
        )
