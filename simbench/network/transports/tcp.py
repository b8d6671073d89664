"""TCP: connections with headers, acknowledgements, windows, and shares that drift apart."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from simbench.network.connections import Connections
from simbench.network.transport import CuttableCarrier, Transport
from simbench.units import Bytes, Nanoseconds, NonNegativeBytes

if TYPE_CHECKING:
    from simbench.network.fabric import Fabric


class TCP(Transport):
    """One connection from each node to each other, over which messages go in turn.

    A message occupies links with its headers, and acknowledgements occupy the way back. A
    connection that begins, or was idle for long, sends no faster than its window lets it
    (``simbench.network.window``); a flow that shares a full link has a share in proportion to
    1/(round trip + queue), and chance moves it up or down from message to message. Loss caps the
    rate. Everything else is fair sharing of links, as in ``ideal``.

    Source:
        RFC 5681 (slow start, congestion avoidance), RFC 6928 (initial window of 10), RFC 2861
        (windows after idle times), RFC 9438 (CUBIC); docs/design/transports.md tells what was
        measured.
    """

    kind: Literal["tcp"] = "tcp"
    segment: Bytes = 1448
    """Data of a full segment: an MTU of 1500 less the headers of IP and TCP with time stamps."""
    frame: Bytes = 1538
    """What a full segment occupies of a link: Ethernet's header, checksum, preamble and gap too."""
    acknowledgement: NonNegativeBytes = 90
    """What an acknowledgement occupies; there is one for every other segment."""
    initial_window: PositiveInt = 10
    """Segments that a new connection may send at first."""
    warm: bool = False
    """Whether connections have been used before, so that their windows are open."""
    max_window: Bytes = 4 * 2**20
    """Largest window: what the buffers of sender and receiver hold."""
    queue: NonNegativeBytes = 512 * 2**10
    """What waits in front of a full link before packets are dropped."""
    loss_law: Literal["pftk", "mathis"] = "pftk"
    """How loss caps the rate: with or without time-outs."""
    overhead: Nanoseconds = 0
    """What software and hardware at both ends take for each message, beside the latency."""
    gap: Nanoseconds = 0
    """For how long a message keeps its link from others besides, as LogGP's g does."""
    drift: NonNegativeFloat = 0.5
    """How far chance moves the shares of equal flows: the standard deviation of the logarithm of
    the share of a small message. It falls as messages become larger than the queue."""

    feels_loss: ClassVar[bool] = True

    def carrier(self, fabric: "Fabric", seed: int) -> CuttableCarrier:
        """Return the connections."""
        return Connections(self, fabric, seed)

    def wire_bytes(self, num_bytes: int) -> int:
        """Return what ``num_bytes`` of data occupy of a link."""
        return num_bytes + (self.frame - self.segment) * -(-num_bytes // self.segment)

    def lossy_rate_bps(self, round_trip_ns: int, loss: float) -> float:
        """Return the rate of the data beyond which a connection doesn't get at ``loss``.

        Args:
            round_trip_ns: above 0.
            loss: probability that a packet is lost, above 0.

        Source:
            Mathis, Semke, Mahdavi, Ott, "The macroscopic behavior of the TCP congestion avoidance
            algorithm", CCR 27 (1997), equation 3 (an acknowledgement for each segment); Padhye,
            Firoiu, Towsley, Kurose, "Modeling TCP throughput: a simple model and its empirical
            validation", SIGCOMM 1998, equation 30 (two segments an acknowledgement).
        """
        round_trip_s = round_trip_ns / 1e9
        if self.loss_law == "mathis":
            return 8 * self.segment / round_trip_s * math.sqrt(1.5 / loss)
        per_ack, timeout_s = 2, max(_LEAST_TIMEOUT_S, 4 * round_trip_s)
        waiting_s = (
            timeout_s
            * min(1, 3 * math.sqrt(3 * per_ack * loss / 8))
            * loss
            * (1 + 32 * loss * loss)
        )
        return 8 * self.segment / (round_trip_s * math.sqrt(2 * per_ack * loss / 3) + waiting_s)


_LEAST_TIMEOUT_S = 0.2
"""Linux's least time-out; the paper takes four round trips."""
