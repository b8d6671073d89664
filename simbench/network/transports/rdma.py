"""RDMA over Ethernet that loses nothing: little latency, no slow start."""

import math
from typing import TYPE_CHECKING, Literal

from simbench.network.flow import Route
from simbench.network.one_flow import OneFlow, Terms
from simbench.network.transport import CuttableCarrier, Transport
from simbench.units import Bytes, Nanoseconds

if TYPE_CHECKING:
    from simbench.network.fabric import Fabric


class RDMA(Transport):
    """A message takes overhead + latency + its packets' bytes/bandwidth, at a fair share at once.

    Priority flow control keeps packets from being dropped, so there are no windows to open; a
    packet acknowledges a whole message. Pauses that spread from switch to switch aren't modelled.

    Source:
        Guo et al., "RDMA over Commodity Ethernet at Scale", SIGCOMM 2016 (RoCEv2, lossless);
        InfiniBand Architecture Specification, annex A17 (headers of RoCEv2).
    """

    kind: Literal["rdma"] = "rdma"
    segment: Bytes = 4096
    """Data of a full packet: the path's MTU."""
    header: Bytes = 82
    """What a packet occupies of a link besides: Ethernet 38, IP 20, UDP 8, transport 12, sum 4."""
    overhead: Nanoseconds = 1_000
    """What both adapters take for a message."""

    def carrier(self, fabric: "Fabric", seed: int) -> CuttableCarrier:
        """Return who adds headers."""
        return OneFlow(fabric, self._terms)

    def _terms(self, route: Route, num_bytes: int, hops_in_turn: int) -> Terms:
        packets = math.ceil(num_bytes / self.segment)
        return Terms(
            delay_ns=self.overhead * hops_in_turn,
            expansion=1 + packets * self.header / num_bytes if num_bytes else 1.0,
        )
