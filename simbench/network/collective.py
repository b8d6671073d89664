"""What a collective is: point-to-point messages that wait for each other, run on the fabric.

Which message moves which bytes is part of it, so that a test can follow every contribution to
where it belongs. The value of a sum is the same for all algorithms: they decide when it arrives.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

from simbench.clock import Clock
from simbench.network.fabric import Fabric
from simbench.network.topology import Network, Topology
from simbench.network.transport import Carrier
from simbench.spec import Spec


class PointToPoint(NamedTuple):
    """One message of a collective."""

    sender: int
    receiver: int
    num_bytes: int
    after: tuple[int, ...] = ()
    """Indices, each once, of earlier messages that have arrived before this one starts."""
    begin: int = 0
    """The first byte that it carries of the vector; behind the vector's end it goes on with 0."""
    adds: bool = False
    """Whether the receiver adds it to what it has, or puts it in the place of that."""
    hops_in_turn: int = 1
    """Messages that it stands for, each waiting for the one before: it waits for the latency as
    often. See ``Collective.flows``."""
    extra_bytes: int = 0
    """What it carries besides: headers, and what is of no use. A message that only tells something
    carries nothing else."""


class Collective(Spec, ABC):
    """A choice of algorithm for one operation among some nodes; its fields are the YAML keys."""

    kind: str
    simulate: Literal["flows", "messages"] = "flows"
    """``flows`` runs many messages as one where that takes the same time on links without other
    traffic; ``messages`` always runs each by itself, which is slower."""

    automatic: ClassVar[bool] = True
    """Whether ``auto`` may choose it."""

    @property
    def num_servers(self) -> int:
        """Machines that it needs beside the workers."""
        return 0

    @abstractmethod
    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return all messages, each behind those that it waits for.

        Args:
            num_bytes: size of the whole vector, on all ranks together where it is scattered.
            ranks: the workers and, behind them, ``num_servers`` servers.
            network: what connects them, for an algorithm that depends on it.
        """

    def flows(self, num_bytes: int, ranks: tuple[int, ...], network: Network) -> list[PointToPoint]:
        """Return fewer messages that take the same time on ``network`` without other traffic.

        Where there are none, and by default, these are the messages themselves.
        """
        return self.messages(num_bytes, ranks, network)

    def transfers(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return what is simulated: flows or messages, as ``simulate`` says.

        Where the transport has a view of single messages, these are always simulated.
        """
        merges = self.simulate == "flows" and network.topology.transport.merges
        return (self.flows if merges else self.messages)(num_bytes, ranks, network)


class AllReduce(Collective):
    """Everybody has a vector; in the end everybody has the sum of all."""


class ReduceScatter(Collective):
    """Everybody has a vector; in the end the i-th of p has the i-th p-th of the sum."""


class AllGather(Collective):
    """Everybody has a piece of a vector; in the end everybody has all of it.

    As one of the collectives on a whole vector, the i-th of p has the i-th p-th.
    """

    @abstractmethod
    def gather(
        self, sizes: Sequence[int], ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return all messages if the i-th of ``ranks`` has a piece of ``sizes[i]`` bytes."""

    def messages(
        self, num_bytes: int, ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return all messages if all have the same, or a byte more."""
        edges = [num_bytes * i // len(ranks) for i in range(len(ranks) + 1)]
        return self.gather([b - a for a, b in pairwise(edges)], ranks, network)

    def gather_transfers(
        self, sizes: Sequence[int], ranks: tuple[int, ...], network: Network
    ) -> list[PointToPoint]:
        """Return what is simulated: flows stand for messages where all pieces are equal."""
        if len(set(sizes)) == 1:
            return self.transfers(sum(sizes), ranks, network)
        return self.gather(sizes, ranks, network)


class Broadcast(Collective):
    """The first has a vector; in the end everybody has it."""


class Reduce(Collective):
    """Everybody has a vector; in the end the first has the sum of all."""


class Plan:
    """The messages of a collective, and who waits for whom: worked out once for many exchanges."""

    def __init__(self, messages: Sequence[PointToPoint]) -> None:
        """Plan ``messages``, each behind those that it waits for."""
        self.messages = messages
        self.waits_for = [len(each.after) for each in messages]
        self.followers: list[list[int]] = [[] for _ in messages]
        """Which messages wait for each, among others."""
        for index, message in enumerate(messages):
            for before in message.after:
                self.followers[before].append(index)
        self.first = [index for index, count in enumerate(self.waits_for) if not count]
        """Those that wait for nothing."""


class Exchange:
    """The messages of one collective under way: each starts when what it waits for has arrived."""

    def __init__(
        self,
        carrier: Carrier,
        plan: Plan,
        finished: Callable[[], None],
        *,
        started: Callable[[int], None] | None = None,
        arrived: Callable[[int], None] | None = None,
    ) -> None:
        """Start the messages of ``plan`` by ``carrier``.

        Args:
            carrier: who carries them.
            plan: what is to be carried.
            finished: called when the last has arrived; at once if there are none.
            started: called with a message's index when it starts.
            arrived: called with a message's index when it arrives, before what waits for it starts.
        """
        self._carrier = carrier
        self._messages, self._followers = plan.messages, plan.followers
        self._finished, self._started, self._arrived = finished, started, arrived
        self._left = len(plan.messages)
        self._waits_for = plan.waits_for.copy()
        self._ready = deque(plan.first)
        self._starting = False
        self._start_ready()

    def _start_ready(self) -> None:
        # What takes no time arrives while it starts: a queue instead of recursion.
        if self._starting:
            return
        self._starting = True
        ready = self._ready
        while ready:
            index = ready.popleft()
            sender, receiver, num_bytes, _, _, _, hops_in_turn, extra_bytes = self._messages[index]
            if self._started is not None:
                self._started(index)
            arrive = partial(self._arrive, index)
            self._carrier.carry(sender, receiver, num_bytes + extra_bytes, arrive, hops_in_turn)
        self._starting = False
        if not self._left:
            self._finished()

    def _arrive(self, index: int) -> None:
        self._left -= 1
        if self._arrived is not None:
            self._arrived(index)
        waits_for = self._waits_for
        for follower in self._followers[index]:
            waits_for[follower] = left = waits_for[follower] - 1
            if not left:
                self._ready.append(follower)
        if self._ready or not self._left:
            self._start_ready()


def seconds(
    collective: Collective, num_bytes: int, ranks: Sequence[int], topology: Topology
) -> float:
    """Return how long ``collective`` takes on ``topology`` if nobody else talks.

    >>> from simbench.network.collectives.all_reduce.ring import Ring
    >>> from simbench.network.topologies.star import Star
    >>> seconds(Ring(), 100_000_000, range(8), Star(bandwidth=10 * 10**9, latency=50_000))
    0.1407

    Args:
        collective: the operation and its algorithm.
        num_bytes: size of the whole vector, on all ranks together where it is scattered.
        ranks: who takes part; the first is the root. Servers of its own get the ranks behind the
            largest.
        topology: what connects them; all start at the same moment.
    """
    num_workers = max(ranks) + 1
    servers = range(num_workers, num_workers + collective.num_servers)
    network = Network(topology, num_workers + len(servers))
    return seconds_on(network, collective.transfers(num_bytes, (*ranks, *servers), network))


def seconds_on(network: Network, messages: Sequence[PointToPoint], seed: int = 0) -> float:
    """Return how long ``messages`` take on ``network`` if nobody else talks.

    ``seed`` is that of what the network and its transport draw.
    """
    clock = Clock()
    ended: list[int] = []
    fabric = Fabric(clock, network.topology, network.num_nodes, seed=seed)
    carrier = network.topology.transport.carrier(fabric, seed)
    Exchange(carrier, Plan(messages), lambda: ended.append(clock.now_ns))
    clock.run()
    assert ended, "messages wait for each other in a circle"
    return ended[0] / 1e9
