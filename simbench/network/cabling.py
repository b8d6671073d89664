"""What the cables of a topology are like: the fields that topologies share, and links from them."""

from abc import ABC
from typing import Annotated

from pydantic import Field

from simbench.network.routing import Link, Place
from simbench.network.topology import Topology
from simbench.spec import Spec, misfit
from simbench.units import BitsPerSecond, BitsPerSecondEach, Nanoseconds, NanosecondsEach

Probability = Annotated[float, Field(ge=0, lt=1)]


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

    def cable(self, one: Place, other: Place) -> tuple[Link, Link]:
        """Return both directions of a cable."""
        back_bps = self.bandwidth_back or self.bandwidth
        return (
            Link(one, other, self.bandwidth, self.latency, self.jitter, self.loss),
            Link(other, one, back_bps, self.latency, self.jitter, self.loss),
        )


class Cable(Wire):
    """A cable as a key of its own."""


class DirectTopology(Wire, Topology, ABC):
    """Nodes joined to each other by cables that are all alike; messages pass through nodes."""


class SwitchedTopology(Topology, ABC):
    """Nodes that each hang on one switch by a link, which may differ from node to node.

    A list has a value for each node, in the order of ranks; the machine of a server, where it has
    one of its own, is the last.
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
    loss: Probability | tuple[Probability, ...] = 0.0
    """Probability that a packet is lost on a node's link."""

    def check(self, num_nodes: int) -> None:
        """Refuse also a list that has a value too few or too many."""
        for key in SwitchedTopology.model_fields:
            values = getattr(self, key)
            if isinstance(values, tuple) and len(values) != num_nodes:
                raise misfit(
                    (key,),
                    f"expected one value, or one for each of {num_nodes} nodes (a server on its "
                    f"own machine is the last); got {len(values)}",
                )
        self.links(num_nodes)

    def attach(self, rank: int, switch: str) -> tuple[Link, Link]:
        """Return the link of node ``rank`` up to its switch, and down."""
        up_bps = _of(self.bandwidth, rank)
        down_bps = up_bps if self.bandwidth_down is None else _of(self.bandwidth_down, rank)
        latency_ns, jitter_ns = _of(self.latency, rank), _of(self.jitter, rank)
        loss = self.loss[rank] if isinstance(self.loss, tuple) else self.loss
        # Half up, half down; where that is between two nanoseconds the sum is still exact.
        return (
            Link(rank, switch, up_bps, -(-latency_ns // 2), -(-jitter_ns // 2), loss),
            Link(switch, rank, down_bps, latency_ns // 2, jitter_ns // 2, loss),
        )


def _of(values: int | tuple[int, ...], rank: int) -> int:
    if isinstance(values, int):
        return values
    if rank >= len(values):
        raise ValueError(f"node {rank} has no value in a list of {len(values)}")
    return values[rank]
