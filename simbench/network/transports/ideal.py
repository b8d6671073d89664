"""Messages as they are: the latency, then a fair share of the links."""

from typing import TYPE_CHECKING, ClassVar, Literal

from simbench.network.transport import CuttableCarrier, Transport

if TYPE_CHECKING:
    from simbench.network.fabric import Fabric


class Ideal(Transport):
    """A message takes latency + bytes/bandwidth, and shares links max-min fairly.

    Source:
        Hockney, "The communication challenge for MPP: Intel Paragon and Meiko CS-2", Parallel
        Computing 20 (1994) (alpha-beta); Bertsekas and Gallager, "Data Networks", section 6.5.2.
    """

    kind: Literal["ideal"] = "ideal"

    merges: ClassVar[bool] = True

    def carrier(self, fabric: "Fabric", seed: int) -> CuttableCarrier:
        """Return the fabric itself."""
        return fabric
