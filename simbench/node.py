"""The words that a strategy may say, and the node that says them: where the two planes join.

A word is a plain function: it starts at once and returns an event. ``yield`` waits for the event;
leaving ``yield`` out means "in the background". What words hand on are Values, promises of
tensors: a strategy never sees a tensor or a wall clock.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from simpy.events import Event, Process

from simbench.clock import Clock
from simbench.cluster.backward import out_ns
from simbench.cluster.processor import Processor, Release
from simbench.execution.values import Recipe, Value
from simbench.learning.training import Training
from simbench.mailbox import Mail, Mailbox, Receive
from simbench.network.collective import AllReduce, Exchange, Plan
from simbench.network.fabric import Fabric
from simbench.network.transport import Carrier
from simbench.records import Message

Steps = Generator[Event, Any, Any]
"""What a strategy's methods are: generators of events to wait for."""


@dataclass(frozen=True)
class State:
    """A model in training: its parameters and what the optimiser remembers."""

    parameters: Value
    optimizer: Value

    def with_parameters(self, parameters: Value) -> "State":
        """Return this state with other parameters; the optimiser's memory stays."""
        return replace(self, parameters=parameters)


class Work(Event):
    """A computation under way; its value is what it computes."""

    def __init__(self, clock: Clock, num_buckets: int = 0) -> None:
        super().__init__(clock)
        self.process: Process | None = None
        self.buckets = [Event(clock) for _ in range(num_buckets)]
        """What comes out on the way, in the order of coming out; each event's value is a piece."""


@dataclass
class AllReduceUnderWay:
    """An all-reduce that some nodes have joined and others haven't."""

    joined: dict[int, Recipe] = field(default_factory=dict)
    waiting: dict[int, Event] = field(default_factory=dict)


Publish = Callable[["Node", Value, int, int | None, int], None]


@dataclass
class World:
    """What the nodes of one run share: the clock, the network and the books, but no model."""

    clock: Clock
    fabric: Fabric
    carrier: Carrier
    """Who brings messages over the fabric, whatever fails on it."""
    all_reduce: AllReduce
    servers: range
    """Machines beside the workers: the strategy's own, or those of its all-reduce."""
    training: Training
    num_workers: int
    server: int | None
    step_ns: Callable[[int, int], int]
    """(rank, step) -> virtual time of that gradient."""
    backward_share: Callable[[int], float]
    """Rank -> last share of that time, in which the gradient comes out."""
    worked: Callable[[int, int, int], None]
    publish: Publish
    observe: Callable[[Recipe], Any]
    messages: list[Message] = field(default_factory=list)
    arrivals: dict[int, int] = field(default_factory=dict)
    """Message number -> when it arrived."""
    payload_bytes: int = 0
    meetings: dict[tuple[str, int], AllReduceUnderWay] = field(default_factory=dict)
    planned: dict[tuple[int, tuple[int, ...]], Plan] = field(default_factory=dict)
    """What all-reduces send, by size and ranks: it needn't be worked out again."""
    nodes: list["Node"] = field(default_factory=list)

    @property
    def num_unread(self) -> int:
        """How many messages have arrived and found no reader, by now."""
        return sum(len(node.mailbox.unread) for node in self.nodes)

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


class Node:
    """One machine: a worker, the server, or both."""

    def __init__(self, world: World, rank: int) -> None:
        self.rank = rank
        self.workers = range(world.num_workers)
        self.mailbox = Mailbox(world.clock)
        self._world = world
        self._clock = world.clock
        self._training = world.training
        self.processor = Processor(world.clock, rank, world.worked)
        self._steps_begun = 0
        self._meetings_joined: dict[str, int] = {}

    # -- who is there

    @property
    def server(self) -> int:
        """The server's rank."""
        assert self._world.server is not None, "this strategy has no server"
        return self._world.server

    # -- computing

    def compute_gradient(
        self, parameters: Value, *, bucket_bytes: int | None = None, add_to: Value | None = None
    ) -> Work:
        """Compute the gradient of this node's next batch; the event's value is its Value.

        Args:
            parameters: where.
            bucket_bytes: the event's ``buckets`` hand it out in pieces of this size as the backward
                pass goes, its end first; a vector that fits into one is one, at the end.
            add_to: what the gradient is added to, as earlier batches' are; nothing if None.
        """
        recipe, duration_ns = self._next_gradient(parameters)
        if add_to is not None:
            recipe = self._training.mix([self._own(add_to), recipe], (1.0, 1.0), self.rank)
        return self._work(duration_ns, self.hold(recipe), self._buckets(recipe, bucket_bytes))

    def compute_step(self, state: State, *, bucket_bytes: int | None = None) -> Work:
        """Compute the next gradient and take the optimiser's step; the event's value is the state.

        The step is taken on each bucket as it comes out, and ``buckets`` hand out the new
        parameters as those of ``compute_gradient`` do the gradient.
        """
        gradient, duration_ns = self._next_gradient(state.parameters)
        stepped = self._stepped(state, gradient)
        buckets = self._buckets(stepped.parameters.recipe, bucket_bytes)
        return self._work(duration_ns, stepped, buckets)

    def compute(self, duration_ns: int) -> Work:
        """Keep this node's processor busy for ``duration_ns``; the event's value is None."""
        return self._work(duration_ns, None)

    def _next_gradient(self, parameters: Value) -> tuple[Recipe, int]:
        """Return the gradient of the next batch and the time that it takes."""
        step = self._steps_begun
        self._steps_begun += 1
        recipe = self._training.gradient(self._own(parameters), self.rank, step)
        return recipe, self._world.step_ns(self.rank, step)

    def _buckets(self, vector: Recipe, bucket_bytes: int | None) -> list[Recipe]:
        if bucket_bytes is None:
            return []
        return self._training.cut(vector, bucket_bytes, self.rank)[::-1]

    def _work(
        self, duration_ns: int, value: Value | State | None, pieces: Sequence[Recipe] = ()
    ) -> Work:
        work = Work(self._clock, len(pieces))
        share = self._world.backward_share(self.rank)
        times_ns = out_ns(duration_ns, share, [piece.num_bytes for piece in pieces])
        releases = [
            # Until then, whoever looks for what is live finds the whole.
            Release(time_ns, event, partial(self.hold, piece))
            for time_ns, event, piece in zip(times_ns, work.buckets, pieces, strict=True)
        ]
        work.process = self.processor.occupy(duration_ns, work, value, releases)
        return work

    # -- talking

    def send(self, to: int, body: Value | Sequence[Value] | None, tag: str = "") -> None:
        """Send Values to node ``to``; the message has the size of what it carries."""
        world = self._world
        values = [body] if isinstance(body, Value) else list(body or ())
        recipes = [self._own(value) for value in values]
        # What a node keeps on itself crosses no link and is no traffic.
        num_bytes = sum(value.num_bytes for value in values) if to != self.rank else 0
        number = world.post(self.rank, to, tag, num_bytes)
        receiver = world.nodes[to]

        def deliver(_: Event) -> None:
            world.arrivals[number] = self._clock.now_ns
            held = [receiver.hold(recipe) for recipe in recipes]
            content = held[0] if isinstance(body, Value) else tuple(held)
            receiver.mailbox.put(Mail(self.rank, tag, content))

        def arrive() -> None:
            arrival = Event(self._clock)
            assert arrival.callbacks is not None
            arrival.callbacks.append(deliver)
            self._clock.ready(arrival, None, receiver=to, sender=self.rank, number=number)

        world.carrier.carry(self.rank, to, num_bytes, arrive)

    def receive(self, tag: str | None = None, sender: int | None = None) -> Receive:
        """Wait for mail with ``tag`` from ``sender``, any where None; the value is the ``Mail``."""
        return self.mailbox.receive(tag, sender)

    def receive_from_each(
        self, senders: Sequence[int], tag: str
    ) -> Generator[Event, Any, list[Mail]]:
        """Wait for one mail from each of ``senders``; return them in the order of ``senders``."""
        receipts = [self.receive(tag, sender) for sender in senders]
        yield self._clock.all_of(receipts)
        return [receipt.mail for receipt in receipts]

    def all_reduce(self, vector: Value, tag: str = "all_reduce") -> Event:
        """Join the workers' next all-reduce under ``tag``; the event's value is the mean.

        It starts when the last worker has joined and takes what the chosen algorithm takes.
        """
        world = self._world
        count = self._meetings_joined.get(tag, 0)
        self._meetings_joined[tag] = count + 1
        meeting = world.meetings.setdefault((tag, count), AllReduceUnderWay())
        meeting.joined[self.rank] = self._own(vector)
        done = meeting.waiting[self.rank] = Event(self._clock)
        if len(meeting.joined) == world.num_workers:
            del world.meetings[tag, count]
            _begin(world, meeting, tag)
        return done

    def all_reduce_buckets(
        self, work: Work, tag: str = "all_reduce"
    ) -> Generator[Event, Any, Value]:
        """All-reduce what ``work`` computes while it is under way; return the mean.

        Each bucket joins once it is out and the one before is done: one queue for all of them, as
        libraries have with one stream of communication.
        """
        means = []
        # Taken off the list: what has been sent needn't be kept.
        while work.buckets:
            piece = yield work.buckets.pop(0)
            means.append((yield self.all_reduce(piece, tag)))
        # The end of the vector came first.
        return self.paste(means[::-1])

    # -- waiting

    def race(self, *words: Work | Receive) -> Generator[Event, Any, Work | Receive]:
        """Wait for the first of ``words`` and undo the others; return the winner.

        At the same instant the clock's order decides, in which work is a message to oneself; of
        words that were done before the call, the first in it wins. Work that is undone stops and
        leaves the processor free; mail that had been handed out goes back to the mailbox's front.
        """
        yield self._clock.any_of(words)
        winner = next(word for word in words if word.processed)
        for word in words:
            if word is not winner:
                self._undo(word)
        return winner

    def start(self, process: Steps) -> Process:
        """Let ``process`` run beside the one that starts it; the event is its end."""
        return self._clock.process(process)

    def _undo(self, word: Work | Receive) -> None:
        if isinstance(word, Receive):
            self.mailbox.undo(word)
        elif word.process is not None and word.process.is_alive:
            word.process.interrupt()

    # -- the model

    def initial_state(self) -> State:
        """Return the parameters that all nodes start from, and an optimiser that hasn't stepped."""
        parameters, optimizer = self._training.initial(self.rank)
        return State(self.hold(parameters), self.hold(optimizer))

    def step(self, state: State, gradient: Value) -> State:
        """Return the state after one step of the optimiser; its time is part of the gradient's."""
        return self._stepped(state, self._own(gradient))

    def _stepped(self, state: State, gradient: Recipe) -> State:
        parameters, optimizer = self._training.step(
            self._own(state.parameters), self._own(state.optimizer), gradient, self.rank
        )
        return State(self.hold(parameters), self.hold(optimizer))

    def cut(self, vector: Value, piece_bytes: int) -> list[Value]:
        """Return the pieces of ``vector``, from its beginning to its end.

        A piece has as many entries as fit into ``piece_bytes``, and one if none fits. The first has
        what is left over.
        """
        pieces = self._training.cut(self._own(vector), piece_bytes, self.rank)
        return [self.hold(piece) for piece in pieces]

    def paste(self, pieces: Sequence[Value]) -> Value:
        """Return ``pieces``, one behind the other, as one vector."""
        recipes = [self._own(piece) for piece in pieces]
        return self.hold(self._training.paste(recipes, self.rank))

    def mix(self, *vectors: Value, weights: Sequence[float] | None = None) -> Value:
        """Return sum(weights * vectors), by default the mean."""
        recipes = [self._own(vector) for vector in vectors]
        return self.hold(self._training.mix(recipes, weights, self.rank))

    def add(self, x: Value, y: Value) -> Value:
        """Return x + y."""
        return self.mix(x, y, weights=(1.0, 1.0))

    def subtract(self, x: Value, y: Value) -> Value:
        """Return x - y."""
        return self.mix(x, y, weights=(1.0, -1.0))

    def observe(self, value: Value) -> Event:
        """Look at the number itself, which is the event's value.

        The executor has to catch up for it: that costs speed, but no virtual time.

        Raises:
            NoNumbersError: the clock plane runs alone (``plan``), so there are no numbers.
        """
        return Event(self._clock).succeed(self._world.observe(self._own(value)))

    def publish(
        self,
        model: Value,
        progress: int,
        *,
        contributor: int | None = None,
        staleness: int = 0,
    ) -> None:
        """Announce version ``progress`` of the model, as the strategy counts it.

        Where the strategy counts steps, workers publish replicas: they are averaged at equal
        progress, when the last worker has published its own. What a server publishes, and what is
        counted in updates, is the model itself.
        """
        self._own(model)
        self._world.publish(self, model, progress, contributor, staleness)

    # -- whose Value it is

    def hold(self, recipe: Recipe) -> Value:
        """Return a handle of this node's own: what it made, or what has reached it."""
        return self._training.graph.hold(recipe, self.rank)

    def _own(self, value: Value) -> Recipe:
        assert value.holder == self.rank, (
            f"node {self.rank} used {value!r}, which it never received: a Value reaches another "
            "node only in a message or a collective"
        )
        return value.recipe


def _begin(world: World, meeting: AllReduceUnderWay, tag: str) -> None:
    """Start an all-reduce that everybody has joined."""
    ranks = tuple(sorted(meeting.joined))
    mean = world.training.mix([meeting.joined[rank] for rank in ranks], None, ranks[0])
    plan = world.plan(mean.num_bytes, ranks)
    numbers = [0] * len(plan.messages)

    def started(index: int) -> None:
        each = plan.messages[index]
        numbers[index] = world.post(each.sender, each.receiver, tag, each.num_bytes)

    def arrived(index: int) -> None:
        world.arrivals[numbers[index]] = world.clock.now_ns

    def finish() -> None:
        for rank in ranks:
            value = world.nodes[rank].hold(mean)
            world.clock.ready(meeting.waiting[rank], value, receiver=rank, sender=rank, number=0)

    Exchange(world.carrier, plan, finish, started=started, arrived=arrived)
