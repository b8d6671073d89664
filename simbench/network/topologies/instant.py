"""A network on which everything arrives at once: strategies without the cost of talking."""

from typing import Literal

from simbench.network.routing import Link, ShortestPaths
from simbench.network.topology import Topology
from simbench.network.transports.ideal import Ideal
from simbench.spec import misfit


class Instant(Topology):
    """No links and no latency; what is sent has arrived."""

    kind: Literal["instant"] = "instant"

    def check(self, num_workers: int, num_servers: int) -> None:
        """Refuse a transport, which would have nothing to work on."""
        if self.transport != Ideal():
            raise misfit(("transport",), "it has no effect: everything arrives at once")

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return nothing: there is no link."""
        return ()

    def route(
        self, ways: ShortestPaths, sender: int, receiver: int, flow: int
    ) -> tuple[int, ...] | None:
        """Return the empty way."""
        return ()
