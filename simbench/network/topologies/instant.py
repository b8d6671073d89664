"""A network on which everything arrives at once: strategies without the cost of talking."""

from typing import Literal

from simbench.network.topology import Path, Topology


class Instant(Topology):
    """No links and no latency; what is sent has arrived."""

    kind: Literal["instant"] = "instant"

    def link_rates_bps(self, num_nodes: int) -> tuple[int, ...]:
        """Return nothing: there is no link."""
        return ()

    def path(self, sender: int, receiver: int) -> Path:
        """Return the empty path."""
        return Path((), 0)
