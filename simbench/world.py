"""The world of one run: what its nodes share, and what is under way between them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simpy.events import Event

from simbench.clock import Clock
from simbench.execution.values import Recipe, Value
from simbench.learning.training import Training
from simbench.mailbox import Mailbox
from simbench.network.collective import AllGather, AllReduce, Exchange, Plan
from simbench.network.fabric import Fabric
from simbench.network.transport import Carrier
from simbench.records import Message


@dataclass
class Gathering:
    """A collective that some nodes have joined and others haven't."""

    ranks: tuple[int, ...]
    """Who takes part."""
    joined: dict[int, Recipe] = field(default_factory=dict)
    waiting: dict[int, Event] = field(default_factory=dict)

    @property
    def absent(self) -> list[int]:
        """Who hasn't joined."""
        return [rank for rank in self.ranks if rank not in self.joined]


Meeting = tuple[str, tuple[int, ...], int]
"""Tag, who takes part, and how many under that tag these have begun before."""

Publish = Callable[[int, Value, int | None, int | None, int, int | None], None]
"""(rank, model, progress, contributor, staleness, batches): a node has a new version of it."""


@dataclass
class World:
    """What the nodes of one run share: the clock, the network and the books, but no model."""

    clock: Clock
    fabric: Fabric
    carrier: Carrier
    """Who brings messages over the fabric, whatever fails on it."""
    all_reduce: AllReduce
    all_gather: AllGather
    servers: range
    """Machines beside the workers: the strategy's own, or those of its all-reduce."""
    training: Training
    seed: int
    """Of all that is drawn."""
    num_workers: int
    server_ranks: tuple[int, ...]
    """Who runs the strategy's servers."""
    step_ns: Callable[[int, int], int]
    """(rank, step) -> virtual time of that gradient."""
    usual_step_ns: Callable[[int], int]
    """Rank -> what its gradients take, as its operator knows from a few."""
    backward_share: Callable[[int], float]
    """Rank -> last share of that time, in which the gradient comes out."""
    worked: Callable[[int, int, int], None]
    publish: Publish
    observe: Callable[[Recipe], Any]
    messages: list[Message] = field(default_factory=list)
    arrivals: dict[int, int] = field(default_factory=dict)
    """Message number -> when it arrived."""
    payload_bytes: int = 0
    meetings: dict[Meeting, Gathering] = field(default_factory=dict)
    planned: dict[tuple[int | tuple[int, ...], tuple[int, ...]], Plan] = field(default_factory=dict)
    """What all-reduces send, by size and ranks, and all-gathers, by sizes: worked out once."""
    mailboxes: list[Mailbox] = field(default_factory=list)
    """Every node's, by rank."""

    @property
    def num_unread(self) -> int:
        """How many messages have arrived and found no reader, by now."""
        return sum(len(mailbox.unread) for mailbox in self.mailboxes)

    def post(self, sender: int, receiver: int, tag: str, num_bytes: int) -> int:
        """Enter a message in the books and return its number."""
        number = len(self.messages)
        now_ns = self.clock.now_ns
        self.messages.append(Message("", 0, number, sender, receiver, tag, num_bytes, now_ns, None))
        self.payload_bytes += num_bytes
        return number

    def plan(self, num_bytes: int, ranks: tuple[int, ...]) -> Plan:
        """Return what an all-reduce among ``ranks`` sends."""
        found = self.planned.get((num_bytes, ranks))
        if found is None:
            among = (*ranks, *self.servers)
            found = Plan(self.all_reduce.transfers(num_bytes, among, self.fabric.network))
            self.planned[num_bytes, ranks] = found
        return found

    def plan_gather(self, sizes: tuple[int, ...], ranks: tuple[int, ...]) -> Plan:
        """Return what an all-gather of pieces of ``sizes`` bytes among ``ranks`` sends."""
        found = self.planned.get((sizes, ranks))
        if found is None:
            found = Plan(self.all_gather.gather_transfers(sizes, ranks, self.fabric.network))
            # Unequal sizes hardly ever come again.
            if len(set(sizes)) == 1:
                self.planned[sizes, ranks] = found
        return found

    def reduce(self, meeting: Gathering, tag: str) -> None:
        """Start an all-reduce that everybody has joined."""
        ranks = meeting.ranks
        mean = self.training.mix([meeting.joined[rank] for rank in ranks], None, ranks[0])
        hold = self.training.graph.hold
        plan = self.plan(mean.num_bytes, ranks)
        self._begin(meeting, tag, plan, lambda rank: hold(mean, rank))

    def gather(self, meeting: Gathering, tag: str) -> None:
        """Start an all-gather that everybody has joined."""
        ranks = meeting.ranks
        pieces = [meeting.joined[rank] for rank in ranks]
        hold = self.training.graph.hold
        plan = self.plan_gather(tuple(piece.num_bytes for piece in pieces), ranks)
        self._begin(meeting, tag, plan, lambda rank: [hold(piece, rank) for piece in pieces])

    def _begin(
        self, meeting: Gathering, tag: str, plan: Plan, outcome: Callable[[int], object]
    ) -> None:
        """Start what ``plan`` says; in the end, each rank gets its ``outcome``."""
        numbers = [0] * len(plan.messages)

        def started(index: int) -> None:
            each = plan.messages[index]
            numbers[index] = self.post(each.sender, each.receiver, tag, each.num_bytes)

        def arrived(index: int) -> None:
            self.arrivals[numbers[index]] = self.clock.now_ns

        def finish() -> None:
            for rank in meeting.ranks:
                waiting = meeting.waiting[rank]
                self.clock.ready(waiting, outcome(rank), receiver=rank, sender=rank, number=0)

        Exchange(self.carrier, plan, finish, started=started, arrived=arrived)
