"""Every node on one switch that never blocks."""

from typing import Literal

from simbench.network.topology import Path, Topology
from simbench.units import BitsPerSecond, Nanoseconds


class Star(Topology):
    """One full-duplex link from each node to one switch: only these links are ever shared."""

    kind: Literal["star"] = "star"
    bandwidth: BitsPerSecond = 10**9
    """Rate of each node's link, each way."""
    latency: Nanoseconds = 10**6
    """From one node through the switch to another, one way: half of what ``ping`` shows."""

    def link_rates_bps(self, num_nodes: int) -> tuple[int, ...]:
        """Return up and down of node 0, up and down of node 1, and so on."""
        return (self.bandwidth,) * (2 * num_nodes)

    def path(self, sender: int, receiver: int) -> Path:
        """Return the sender's link up and the receiver's link down."""
        return Path((2 * sender, 2 * receiver + 1), self.latency)
