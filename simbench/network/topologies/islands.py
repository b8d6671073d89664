"""Islands of nodes: fast inside, slow between."""

from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveInt

from simbench.network.cabling import Probability, SwitchedTopology, halved
from simbench.network.layouts import Layout, clusters
from simbench.network.routing import Link, Place
from simbench.spec import misfit
from simbench.units import BitsPerSecond, BitsPerSecondEach, Nanoseconds, NanosecondsEach


class Islands(SwitchedTopology):
    """Machines full of accelerators: a fast switch in each, and a core switch between them.

    Nodes fill the islands in order of rank. All that leaves an island shares its links to the core;
    where it has several, a hash of the flow chooses one. A server on its own machine is no member
    of an island: it hangs on the core by one link like those of the islands.

    Source:
        The default rate inside is that of NVLink 4: 900 GB/s of an H100 SXM, both directions
        together (NVIDIA, "H100 Tensor Core GPU", datasheet).
    """

    kind: Literal["islands"] = "islands"
    islands: PositiveInt = 2
    """Number of islands."""
    size: PositiveInt = 4
    """Nodes in each; islands times size is the number of workers."""
    bandwidth: BitsPerSecondEach = 3600 * 10**9
    """Rate of each node's link inside its island, each way."""
    latency: NanosecondsEach = 1000
    """From one node to another of its island, one way. Where nodes differ, the mean of the two."""
    uplinks: PositiveInt = 1
    """Links from each island to the core."""
    bandwidth_between: BitsPerSecond = 100 * 10**9
    """Rate of each of these, each way."""
    latency_between: Nanoseconds = 10_000
    """From one island to another, one way, beside the latency inside them."""
    jitter_between: Nanoseconds = 0
    """Mean extra latency of a message on that way: half of it exponential on each link."""
    loss_between: Probability = 0.0
    """Probability that a packet is lost on a link of an island."""

    def check(self, num_workers: int, num_servers: int) -> None:
        """Refuse islands that hold another number of nodes."""
        if self.islands * self.size != num_workers:
            raise misfit(
                ("islands",),
                f"{self.islands} islands of {self.size} hold {self.islands * self.size} nodes; "
                f"the cluster has {num_workers}",
            )
        # A server takes no value of the lists: it has a link like those of the islands.
        super().check(num_workers, 0)

    def links(self, num_nodes: int) -> tuple[Link, ...]:
        """Return up and down of every node, then of every island, then of servers."""
        num_workers = self.islands * self.size
        links: list[Link] = []
        for rank in range(num_workers):
            links += self.attach(rank, f"island {rank // self.size}")
        for island in range(self.islands if self.islands > 1 or num_nodes > num_workers else 0):
            for _ in range(self.uplinks):
                links += self._hang(f"island {island}")
        for server in range(num_workers, num_nodes):
            links += self._hang(server)
        return tuple(links)

    def layout(self, num_nodes: int) -> Layout:
        """Return the islands around the core."""
        num_workers = self.islands * self.size
        members: dict[Place, Sequence[Place]] = {
            f"island {island}": range(island * self.size, (island + 1) * self.size)
            for island in range(self.islands)
        }
        servers = range(num_workers, num_nodes)
        return clusters(members, "core" if self.islands > 1 or servers else None, servers)

    def _hang(self, place: int | str) -> tuple[Link, Link]:
        up, down = halved(self.latency_between, self.jitter_between)
        return (
            Link(place, "core", self.bandwidth_between, *up, self.loss_between),
            Link("core", place, self.bandwidth_between, *down, self.loss_between),
        )
