"""The world of one run: what its nodes share, and what is under way between them."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from simpy.events import Event

from simbench.clock import Clock
from simbench.execution.values import Recipe, Value
from simbench.learning.training import Training
from simbench.mailbox import Mailbox
from simbench.membership import Membership
from simbench.network.collective import AllGather, AllReduce, Exchange, Plan
from simbench.network.fabric import Fabric
from simbench.network.transport import Carrier
from simbench.records import Message


@dataclass
class Gathering:
    """A collective that some nodes have joined, and others perhaps haven't."""

    tag: str
    ranks: tuple[int, ...]
    """Who takes part, of those who are members."""
    round: int
    gathers: bool
    """Whether everybody gets what all have given, one by one, and not the mean."""
    joined: dict[int, Recipe] = field(default_factory=dict)
    waiting: dict[int, Event] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    """Its messages, once it has begun."""

    def absent(self, membership: Membership) -> list[int]:
        """Return who hasn't joined."""
        return [
            rank
            for rank in self.ranks
            if rank not in self.joined and membership.takes_part(rank, self.round)
        ]


Meeting = tuple[str, tuple[int, ...], int, int]
"""Tag, who takes part, the round, and how many under that tag these have begun before in it."""

Publish = Callable[[int, Value, int | None, int | None, int, int | None], None]
"""(rank, model, progress, contributor, staleness, batches): a node has a new version of it."""

Keep = Callable[[int, tuple[Any, ...], int], Generator[Event, Any, None]]
"""(rank, memory, batches drawn): all that a node needs to go on from where it is."""


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
    membership: Membership
    keep: Keep | None = None
    """Who looks after failures, where anybody does: told of the states that nodes keep."""
    messages: list[Message] = field(default_factory=list)
    arrivals: dict[int, int] = field(default_factory=dict)
    """Message number -> when it arrived."""
    payload_bytes: int = 0
    under_way: dict[int, Any] = field(default_factory=dict)
    """Message number -> its delivery, where somebody looks after failures."""
    dropped: dict[int, int] = field(default_factory=dict)
    """Message number -> when it was given up, since an end of it was no member any more."""
    num_thrown_away: int = 0
    """Messages that weren't sent, or had arrived and weren't read, since an end was no member."""
    meetings: dict[Meeting, Gathering] = field(default_factory=dict)
    running: list[Gathering] = field(default_factory=list)
    """Collectives that have begun, where somebody looks after failures."""
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

    def carry(
        self,
        number: int,
        num_bytes: int,
        arrive: Callable[[], None],
        hops_in_turn: int = 1,
    ) -> None:
        """Let a message set out that is in the books; ``arrive`` has to call ``note_arrival``."""
        message = self.messages[number]
        delivery = self.carrier.carry(
            message.sender, message.receiver, num_bytes, arrive, hops_in_turn
        )
        # What takes no time has arrived.
        if self.keep is not None and number not in self.arrivals:
            self.under_way[number] = delivery

    def note_arrival(self, number: int) -> None:
        """Enter in the books that a message has arrived."""
        self.arrivals[number] = self.clock.now_ns
        self.under_way.pop(number, None)

    def join(self, key: Meeting, rank: int, given: Recipe, *, gathers: bool) -> Event:
        """Let ``rank`` join a collective, which begins with the last; the event is its end."""
        tag, ranks, round_, _ = key
        meeting = self.meetings.setdefault(key, Gathering(tag, ranks, round_, gathers))
        meeting.joined[rank] = given
        done = meeting.waiting[rank] = Event(self.clock)
        if len(meeting.joined) == len(ranks) or (self.keep and not meeting.absent(self.membership)):
            del self.meetings[key]
            self.begin(meeting)
        return done

    def begin(self, meeting: Gathering) -> None:
        """Start a collective that everybody has joined; of who has left meanwhile, nothing."""
        membership = self.membership
        membership.enter(meeting.round)
        ranks = meeting.ranks
        if self.keep is not None:
            ranks = tuple(rank for rank in ranks if rank in meeting.joined)
            self.running.append(meeting)
        given = [meeting.joined[rank] for rank in ranks]
        hold = self.training.graph.hold
        if meeting.gathers:
            plan = self.plan_gather(tuple(each.num_bytes for each in given), ranks)

            def outcome(rank: int) -> object:
                return [hold(each, rank) for each in given]

        else:
            mean = self.training.mix(given, None, ranks[0])
            plan = self.plan(mean.num_bytes, ranks)

            def outcome(rank: int) -> object:
                return hold(mean, rank)

        meeting.numbers = numbers = [0] * len(plan.messages)

        def started(index: int) -> None:
            each = plan.messages[index]
            numbers[index] = self.post(each.sender, each.receiver, meeting.tag, each.num_bytes)

        def arrived(index: int) -> None:
            self.note_arrival(numbers[index])

        def finish() -> None:
            if self.keep is not None:
                self.running.remove(meeting)
            for rank in ranks:
                waiting = meeting.waiting[rank]
                self.clock.ready(waiting, outcome(rank), receiver=rank, sender=rank, number=0)

        carrier = self.carrier if self.keep is None else _Posted(self)
        Exchange(carrier, plan, finish, started=started, arrived=arrived)


@dataclass(frozen=True)
class _Posted:
    """Carries the message that was entered in the books last, so that it can be given up."""

    world: World

    def carry(
        self,
        sender: int,
        receiver: int,
        num_bytes: int,
        finished: Callable[[], Any],
        hops_in_turn: int = 1,
    ) -> None:
        """Let it set out."""
        number = len(self.world.messages) - 1
        self.world.carry(number, num_bytes, finished, hops_in_turn)
