"""What the cables of a topology are like: the fields that topologies share, and links from them."""

from abc import ABC
from typing import Annotated

from pydantic import BeforeValidator, Field

from simbench.network.routing import Link, Place
from simbench.network.topology import Topology
from simbench.spec import Spec, misfit
from simbench.units import (
    BitsPerSecond,
    BitsPerSecondEach,
    Nanoseconds,
    NanosecondsEach,
    NonNegativeBytes,
    NonNegativeBytesEach,
)

Probability = Annotated[float, Field(ge=0, lt=1)]


def _probabilities(value: object) -> object:
    # A union of pydantic's own would tell what is wrong once for each of its members.
    for each in value if isinstance(value, tuple | list) else (value,):
        if isinstance(each, bool) or not isinstance(each, int | float) or not 0 <= each < 1:
            raise ValueError(
                f"expected a number from 0 to below 1, or a list of them; got {each!r}"
            )
    return value


ProbabilityEach = Annotated[float | tuple[float, ...], BeforeValidator(_probabilities)]
"""A probability for all nodes, or a list with one for each."""


class Wire(Spec, ABC):
    """The fields of a cable, all alike."""

    bandwidth: BitsPerSecond = 10**9
    """Rate of each link, each way."""
    bandwidth_back: BitsPerSecond | None = None
    """Rate the other way, where it differs: from the later of the two ends to the earlier."""
    latency: Nanoseconds = 10**6
    """From one end of a link to the other, one way."""
    jitter: Nanoseconds = 0
    """Mean of the exponential extra latency of a message on each link."""
    loss: Probability = 0.0
    """Probability that a packet is lost on a link."""
    burst: NonNegativeBytes = 0
    """What a link lets through at once after an idle time: the depth of its token bucket."""

    def cable(self, one: Place, other: Place) -> tuple[Link, Link]:
        """Return both directions of a cable."""
        back_bps = self.bandwidth_back or self.bandwidth
        rest = self.latency, self.jitter, self.loss, self.burst
        return Link(one, other, self.bandwidth, *rest), Link(other, one, back_bps, *rest)


class Cable(Wire):
    """A cable as a key of its own."""


class DirectTopology(Wire, Topology, ABC):
    """Nodes joined to each other by cables that are all alike; messages pass through nodes."""


class SwitchedTopology(Topology, ABC):
    """Nodes that each hang on one switch by a link, which may differ from node to node.

    A list has a value for each node in the order of ranks: workers, then servers on machines of
    their own.
    """

    bandwidth: BitsPerSecondEach = 10**9
    """Rate of each node's link, each way."""
    bandwidth_down: BitsPerSecondEach | None = None
    """Rate from the switch to the node, where it differs."""
    latency: NanosecondsEach = 10**6
    """From one node through its switch to another, one way: half of what ``ping`` shows. Where
    nodes differ, it is the mean of the two."""
    jitter: NanosecondsEach = 0
    """Mean extra latency of a message on that way: half of it exponential on each link."""
    loss: ProbabilityEach = 0.0
    """Probability that a packet is lost on a node's link."""
    burst: NonNegativeBytesEach = 0
    """What each node's link lets through at once, each way, after an idle time: the depth of its
    token bucket."""

    def check(self, num_workers: int, num_servers: int) -> None:
        """Refuse also a list that has a value too few or too many."""
        for key in SwitchedTopology.model_fields:
            values = getattr(self, key)
            if isinstance(values, tuple) and len(values) != num_workers + num_servers:
                servers = f" and {num_servers} on server machines" if num_servers else ""
                raise misfit(
                    (key,),
                    f"expected one value, or one for each of {num_workers} nodes{servers}; got "
                    f"{len(values)}",
                )
        self.links(num_workers + num_servers)

    def attach(self, rank: int, switch: str) -> tuple[Link, Link]:
        """Return the link of node ``rank`` up to its switch, and down."""
        up_bps = _of(self.bandwidth, rank)
        down_bps = up_bps if self.bandwidth_down is None else _of(self.bandwidth_down, rank)
        loss = self.loss[rank] if isinstance(self.loss, tuple) else self.loss
        burst_bytes = _of(self.burst, rank)
        halves = halved(_of(self.latency, rank), _of(self.jitter, rank))
        return (
            Link(rank, switch, up_bps, *halves[0], loss, burst_bytes),
            Link(switch, rank, down_bps, *halves[1], loss, burst_bytes),
        )

    @property
    def fastest_bps(self) -> int:
        """Rate of the fastest node's link."""
        return max(self.bandwidth) if isinstance(self.bandwidth, tuple) else self.bandwidth


class TieredTopology(SwitchedTopology, ABC):
    """Switches above switches, joined by links that are all alike but for their rates."""

    trunk_latency: Nanoseconds = 0
    """From one switch to the next, one way."""
    trunk_jitter: Nanoseconds = 0
    """Mean of the exponential extra latency of a message from one switch to the next."""
    trunk_loss: Probability = 0.0
    """Probability that a packet is lost between two switches."""
    trunk_burst: NonNegativeBytes = 0
    """What a link between two switches lets through at once after an idle time."""

    def trunk(self, lower: str, upper: str, rate_bps: int) -> tuple[Link, Link]:
        """Return both directions of a link between two switches."""
        rest = rate_bps, self.trunk_latency, self.trunk_jitter, self.trunk_loss, self.trunk_burst
        return Link(lower, upper, *rest), Link(upper, lower, *rest)


def halved(latency_ns: int, jitter_ns: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what the link to a switch has of a way through it, and what the link from it has.

    Where half is between two nanoseconds the sum is still exact.
    """
    return (-(-latency_ns // 2), -(-jitter_ns // 2)), (latency_ns // 2, jitter_ns // 2)


def _of(values: int | tuple[int, ...], rank: int) -> int:
    return values if isinstance(values, int) else values[rank]
