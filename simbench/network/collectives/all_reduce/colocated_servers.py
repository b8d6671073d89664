"""All-reduce through servers on the workers' own machines."""

from typing import ClassVar, Literal

from pydantic import PositiveInt

from simbench.network.collective import AllReduce, PointToPoint
from simbench.network.collectives.all_reduce.servers import push_and_pull
from simbench.network.topology import Network


class ColocatedServers(AllReduce):
    """Workers are servers too: everybody pushes a piece to each, and pulls the sum of all.

    Without other traffic on equal links, a server on each of N workers takes 2 latency + 2(N-1)/N
    * bytes/bandwidth.

    Source:
        Jiang et al., "A Unified Architecture for Accelerating Distributed DNN Training in
        Heterogeneous GPU/CPU Clusters" (BytePS), OSDI 2020, section 3.
    """

    kind: Literal["colocated_servers"] = "colocated_servers"
    servers: PositiveInt | None = None
    """How many workers are servers too, the first ones; more than there are is all, and so is none.
    """

    automatic: ClassVar[bool] = False

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return a message from every worker to every other that is a server, and back."""
        return push_and_pull(num_bytes, ranks, ranks[: self.servers])
