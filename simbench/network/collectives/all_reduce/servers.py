"""All-reduce through servers on machines of their own."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import PositiveInt

from simbench.network.collective import AllReduce, PointToPoint
from simbench.network.schedule import Piece, split
from simbench.network.topology import Network


def push_and_pull(
    num_bytes: int, workers: Sequence[int], servers: Sequence[int]
) -> list[PointToPoint]:
    """Return the messages from all workers to all servers, and back once a server has all.

    Each server has an equal piece of the vector. What stays on a machine is no message.
    """
    messages: list[PointToPoint] = []
    pieces = split(Piece(0, num_bytes), len(servers))
    pushes: list[tuple[int, ...]] = []
    for server, (begin, size) in zip(servers, pieces, strict=True):
        first = len(messages)
        messages += [
            PointToPoint(worker, server, size, (), begin, adds=True)
            for worker in workers
            if worker != server
        ]
        pushes.append(tuple(range(first, len(messages))))
    for server, (begin, size), after in zip(servers, pieces, pushes, strict=True):
        messages += [
            PointToPoint(server, worker, size, after, begin, adds=False)
            for worker in workers
            if worker != server
        ]
    return messages


class Servers(AllReduce):
    """Every worker pushes a piece of its vector to each server, and pulls the sum of all.

    Without other traffic on equal links, k servers of N workers take 2 latency + 2 max(bytes,
    N/k bytes)/bandwidth; one server 2 latency + 2 N bytes/bandwidth.

    Source:
        Li et al., "Scaling Distributed Machine Learning with the Parameter Server", OSDI 2014.
    """

    kind: Literal["servers"] = "servers"
    servers: PositiveInt = 1
    """How many machines there are beside the workers, each with a link like theirs."""

    automatic: ClassVar[bool] = False

    @property
    def num_servers(self) -> int:
        """As many as ``servers``."""
        return self.servers

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return a message from every worker to every server, and back."""
        num_workers = len(ranks) - self.servers
        return push_and_pull(num_bytes, ranks[:num_workers], ranks[num_workers:])
