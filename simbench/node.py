"""The words that a strategy may say, and the node that says them: where the two planes join.

A word is a plain function: it starts at once and returns an event. ``yield`` waits for the event;
leaving ``yield`` out means "in the background". What words hand on are Values, promises of
tensors: a strategy never sees a tensor or a wall clock.
"""

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import GEN_CLOSED, getgeneratorstate
from typing import Any

import numpy as np
from simpy.events import Event, Process

from simbench.clock import Clock
from simbench.cluster.backward import out_ns
from simbench.cluster.processor import Processor, Release
from simbench.execution.values import Operation, Recipe, Value
from simbench.learning.compressor import Layout
from simbench.learning.optimizer import Optimizer
from simbench.mailbox import Mail, Mailbox, Receive, Tags
from simbench.seeds import generator
from simbench.world import World

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


@dataclass(frozen=True)
class Own:
    """What a node keeps for itself: whoever else is handed what it keeps gets None in its place."""

    what: Any


class Work(Event):
    """A computation under way; its value is what it computes."""

    def __init__(self, clock: Clock, num_buckets: int = 0) -> None:
        super().__init__(clock)
        self.process: Process | None = None
        self.before: Value | None = None
        """What the transformations of gradients remembered before it."""
        self.buckets = [Event(clock) for _ in range(num_buckets)]
        """What comes out on the way, in the order of coming out; each event's value is a piece."""


class Node:
    """One machine: a worker, the server, or both."""

    def __init__(self, world: World, rank: int) -> None:
        self.rank = rank
        self.workers = range(world.num_workers)
        self.mailbox = Mailbox(world.clock)
        assert rank == len(world.mailboxes), "nodes are made in the order of ranks"
        world.mailboxes.append(self.mailbox)
        self._world = world
        self._clock = world.clock
        self._training = world.training
        self.processor = Processor(world.clock, rank, world.worked)
        self._steps_begun = 0
        self._done = 0
        """What it has kept last, as the strategy counts: it is in the round behind."""
        self._gradient_memory: Value | None = None
        self._meetings_joined: Counter[tuple[str, tuple[int, ...]]] = Counter()
        """In this round."""
        self._to_welcome: dict[int, None] = {}
        """Who has asked this server to join, and takes part only from its next round on."""
        self._lives: list[Steps] = []
        """What runs here, where it may have to end."""
        self._handed: tuple[Any, ...] | None = None
        self._model: Value | None = None
        """Where it began anew: the memory that it goes on from, or the server's model."""
        self.first_version = 0
        """Which version of the server's model it began from, as the server counts."""

    # -- who is there

    @property
    def members(self) -> Sequence[int]:
        """The workers that are there now, in the order of ranks; all, unless the policy goes on."""
        return self._world.membership.members

    def members_in(self, count: int) -> Sequence[int]:
        """Return the workers that take part in round ``count``, on every node the same."""
        return self._world.membership.members_in(count)

    @property
    def server(self) -> int:
        """The server's rank, where there is one alone."""
        count = len(self.servers)
        assert count == 1, f"this strategy has {f'{count} servers' if count else 'no server'}"
        return self.servers[0]

    @property
    def servers(self) -> tuple[int, ...]:
        """The ranks of the strategy's servers, in their order; none if it has none."""
        return self._world.server_ranks

    @property
    def num_samples(self) -> int:
        """How many samples this worker has of its own; 1 each where data never end."""
        return self.samples_of(self.rank)

    def samples_of(self, worker: int) -> int:
        """Return the ``num_samples`` of a worker, which all know who know how data are shared."""
        return self._training.shard_samples(worker)

    # -- what a message is charged

    def vector_bytes(self, num_entries: int) -> int:
        """Return the bytes of a vector of ``num_entries``, in proportion to the whole model's.

        Those are in the task's type, or of the model that it is ``priced_as``.
        """
        return self._training.charge.between(0, num_entries)

    def payload_bytes(self, num_bytes: int) -> int:
        """Return the bytes of a payload that takes ``num_bytes`` for what is trained."""
        return self._training.charge.payload(num_bytes)

    # -- what time it is, and what takes how long

    @property
    def now_ns(self) -> int:
        """The virtual time, which only an order-dependent strategy may act on."""
        return self._clock.now_ns

    def usual_step_ns(self, rank: int) -> int:
        """Return what a step of worker ``rank`` takes, as a few measured in advance tell."""
        return self._world.usual_step_ns(rank)

    def wait(self, duration_ns: int) -> Event:
        """Let ``duration_ns`` pass; the event comes after all mail that arrives at that moment."""
        over = Event(self._clock)
        self._clock.afterwards(over, self.rank, duration_ns)
        return over

    # -- what is drawn

    def shared_draw(self, purpose: str, step: int) -> np.random.Generator:
        """Return the generator of the draws that (seed, purpose, step) names: every node's same."""
        return generator(self._world.seed, f"shared {purpose}", 0, step)

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
        recipe, memory, duration_ns = self._next_gradient(parameters)
        if add_to is not None:
            recipe = self._training.mix([self._own(add_to), recipe], (1.0, 1.0), self.rank)
        buckets = self._buckets(recipe, bucket_bytes)
        share = self._world.backward_share(self.rank)
        return self._work(duration_ns, self.hold(recipe), memory, buckets, share)

    def compute_step(self, state: State, *, bucket_bytes: int | None = None) -> Work:
        """Compute the next gradient and take the optimiser's step; the event's value is the state.

        The step is taken on each bucket as it comes out, and ``buckets`` hand out the new
        parameters as those of ``compute_gradient`` do the gradient.
        """
        gradient, memory, duration_ns = self._next_gradient(state.parameters)
        stepped = self._stepped(state, gradient)
        buckets = self._buckets(stepped.parameters.recipe, bucket_bytes)
        whole = self._training.steps_on_wholes
        share = 0.0 if whole else self._world.backward_share(self.rank)
        return self._work(duration_ns, stepped, memory, buckets, share)

    def loss_of_next_batch(self, parameters: Value) -> Value:
        """Return the loss at ``parameters`` of the batch that the next gradient will be of.

        It costs no virtual time: the forward pass of that gradient brings it.
        """
        return self.hold(self._training.loss(self._own(parameters), self.rank, self._steps_begun))

    def compute(self, duration_ns: int) -> Work:
        """Keep this node's processor busy for ``duration_ns``; the event's value is None."""
        return self._work(duration_ns, None, self._gradient_memory)

    def _next_gradient(self, parameters: Value) -> tuple[Recipe, Value | None, int]:
        """Return the next batch's gradient, what its transformations remember, and its time."""
        step = self._steps_begun
        self._steps_begun += 1
        point = self._own(parameters)
        before = None if self._gradient_memory is None else self._gradient_memory.recipe
        recipe = self._training.gradient(point, self.rank, step)
        recipe, after = self._training.transformed(recipe, point, before, self.rank, step)
        memory = None if after is None else self.hold(after)
        return recipe, memory, self._world.step_ns(self.rank, step)

    def _buckets(self, vector: Recipe, bucket_bytes: int | None) -> list[Recipe]:
        if bucket_bytes is None:
            return []
        return self._training.cut(vector, bucket_bytes, self.rank)[::-1]

    def _work(
        self,
        duration_ns: int,
        value: Value | State | None,
        memory: Value | None,
        pieces: Sequence[Recipe] = (),
        share: float = 0.0,
    ) -> Work:
        work = Work(self._clock, len(pieces))
        work.before, self._gradient_memory = self._gradient_memory, memory
        times_ns = out_ns(duration_ns, share, [piece.num_bytes for piece in pieces])
        releases = [
            # Until then, whoever looks for what is live finds the whole.
            Release(time_ns, event, partial(self.hold, piece))
            for time_ns, event, piece in zip(times_ns, work.buckets, pieces, strict=True)
        ]
        work.process = self.processor.occupy(duration_ns, work, value, releases)
        return work

    # -- talking

    def send(
        self,
        to: int,
        body: Value | Sequence[Value] | None,
        tag: str = "",
        *,
        version: int = 0,
        number: float | None = None,
    ) -> Event:
        """Send Values to node ``to``; the event is their arrival, which a sender may wait for.

        The message has the size of what it carries. Its ``version`` says what it is about, as the
        strategy counts it, and costs no bytes. A ``number`` that the strategy knows without
        training goes along, as 8 bytes.
        """
        world = self._world
        values = [body] if isinstance(body, Value) else list(body or ())
        recipes = [self._own(value) for value in values]
        # What a node keeps on itself crosses no link and is no traffic.
        size = sum(value.num_bytes for value in values) + (0 if number is None else 8)
        num_bytes = size if to != self.rank else 0
        if not world.membership.takes_part(to, self._done + 1):
            world.num_thrown_away += 1
            return Event(self._clock).succeed()  # nobody has to wait for it
        serial = world.post(self.rank, to, tag, num_bytes)
        arrival = Event(self._clock)

        def deliver(_: Event) -> None:
            if serial in world.dropped:  # at the very moment when it came
                return
            world.note_arrival(serial)
            held = [self._training.graph.hold(recipe, to) for recipe in recipes]
            content = held[0] if isinstance(body, Value) else tuple(held)
            world.mailboxes[to].put(Mail(self.rank, tag, content, version, number or 0.0))

        assert arrival.callbacks is not None
        arrival.callbacks.append(deliver)

        def arrive() -> None:
            self._clock.ready(arrival, None, receiver=to, sender=self.rank, number=serial)

        world.carry(serial, num_bytes, arrive)
        return arrival

    def receive(
        self, tag: Tags = None, sender: int | None = None, *, newer_than: int | None = None
    ) -> Receive:
        """Wait for mail with ``tag`` from ``sender``, any where None; the value is the ``Mail``.

        It is None if ``sender`` is no member, or leaves first. With ``newer_than``, only for mail
        of a later ``version``. A server hears under the tag ``join`` of a worker that is back, is
        one of the ``members`` from then on, and starts from the first model that it is sent; of one
        that leaves under ``left``, if it waits for that.
        """
        receipt = self.mailbox.receive(tag, sender, newer_than)
        if sender is not None and not self._world.membership.takes_part(sender, self._done + 1):
            if not receipt.triggered:
                self.mailbox.undo(receipt)
                receipt.succeed(None)
        elif isinstance(tag, tuple) and "join" in tag:
            assert receipt.callbacks is not None
            receipt.callbacks.append(self._admit)
        return receipt

    def _admit(self, receipt: Event) -> None:
        mail = receipt.value
        # Of several servers none admits alone: who asks is a member once all have heard.
        if mail is not None and mail.tag == "join" and len(self.servers) == 1:
            self._world.membership.join(mail.sender)

    def receive_from_each(
        self, senders: Sequence[int], tag: str, *, welcome: Value | None = None
    ) -> Generator[Event, Any, list[Mail]]:
        """Wait for one mail from each of ``senders``; return them in the order of ``senders``.

        Those that are no members, and that leave meanwhile, are left out. With ``welcome``, workers
        that join meanwhile are sent that as ``model`` and waited for, too, and there is one mail at
        least; of several servers, one may find that all have left and another has had its mail.
        """
        receipts = {sender: self.receive(tag, sender) for sender in senders}
        everyone = self._clock.all_of(list(receipts.values()))
        if welcome is not None and self._world.keep is not None:
            yield from self._welcome(welcome, tag, receipts, everyone)
        else:
            yield everyone
        mails = [receipts[sender].value for sender in senders]
        return [mail for mail in mails if mail is not None]

    def _welcome(
        self, welcome: Value, tag: str, receipts: dict[int, Receive], everyone: Event
    ) -> Steps:
        """Wait until all ``receipts`` are there, with those of who joins meanwhile."""
        members = self._world.membership
        for newcomer in [each for each in self._to_welcome if self._has_in_round(each)]:
            self._send_welcome(newcomer, welcome)
        while True:
            joining = self.receive(("join",))
            yield self._clock.any_of([everyone, joining])
            if joining.triggered:
                newcomer = joining.mail.sender
                if not joining.processed:
                    yield joining
                if not self._has_in_round(newcomer):
                    # Another server is in the next round already.
                    self._to_welcome[newcomer] = None
                else:
                    self._send_welcome(newcomer, welcome)
                    if newcomer not in receipts or receipts[newcomer].triggered:
                        receipts[newcomer] = self.receive(tag, newcomer)
            else:
                self.mailbox.undo(joining)
            left = [each for each in receipts.values() if not each.triggered or each.value]
            if all(each.triggered for each in left) and (
                left or members.newest_round > self._done + 1
            ):
                # Who joins from now on takes no part in this round.
                members.enter(self._done + 2)
                return
            everyone = self._clock.all_of(left) if left else self._clock.event()

    def _send_welcome(self, newcomer: int, model: Value) -> None:
        self._to_welcome.pop(newcomer, None)
        self.send(newcomer, model, tag="model", version=self._done)

    def _has_in_round(self, worker: int) -> bool:
        """Whether ``worker`` takes part in this node's round."""
        return self._world.membership.takes_part(worker, self._done + 1)

    def all_reduce(
        self, vector: Value, tag: str = "all_reduce", among: Sequence[int] | None = None
    ) -> Event:
        """Join the next all-reduce of ``among`` under ``tag``; the event's value is the mean.

        It starts when the last of them has joined and takes what the chosen algorithm takes.
        ``among`` are ranks, this node's with them; all workers by default. Those that are no
        members are left out; if one leaves on the way, it begins anew among the others.
        """
        return self._join(vector, tag, among, gathers=False)

    def all_gather(
        self, value: Value, tag: str = "all_gather", among: Sequence[int] | None = None
    ) -> Event:
        """Join the next all-gather of ``among``; the event's value is everybody's, by rank.

        What they bring may differ in size. It is as ``all_reduce`` in all else.
        """
        return self._join(value, tag, among, gathers=True)

    def _join(self, given: Value, tag: str, among: Sequence[int] | None, *, gathers: bool) -> Event:
        ranks = tuple(self.workers) if among is None else tuple(sorted(among))
        assert self.rank in ranks, "who joins takes part"
        count = self._meetings_joined[tag, ranks]
        self._meetings_joined[tag, ranks] += 1
        key = tag, ranks, self._done + 1, count
        return self._world.join(key, self.rank, self._own(given), gathers=gathers)

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

    def race(self, *words: Event) -> Generator[Event, Any, Event]:
        """Wait for the first of ``words`` and undo the others; return the winner.

        At the same instant the clock's order decides, in which work is a message to oneself; of
        words that were done before the call, the first in it wins. Work that is undone stops and
        leaves the processor free; mail that had been handed out goes back to the mailbox's front; a
        ``wait`` goes on, and so does what is under way to another node.
        """
        yield self._clock.any_of(words)
        winner = next(word for word in words if word.processed)
        for word in words:
            if word is not winner:
                self._undo(word)
        return winner

    def start(self, process: Steps) -> Process:
        """Let ``process`` run beside the one that starts it; the event is its end."""
        if self._world.keep is not None:
            self._lives = [each for each in self._lives if getgeneratorstate(each) != GEN_CLOSED]
            self._lives.append(process)
        return self._clock.process(process)

    def _undo(self, word: Event) -> None:
        if isinstance(word, Receive):
            self.mailbox.undo(word)
        elif isinstance(word, Work) and word.process is not None and word.process.is_alive:
            word.process.interrupt()
            # Its gradient is never used: what it would have left behind isn't, either.
            self._gradient_memory = word.before

    # -- the model

    @property
    def layout(self) -> Layout:
        """What a vector of parameters is made of, for operations that have to know."""
        return self._training.layout

    def initial_state(self) -> State:
        """Return the parameters that all nodes start from, and an optimiser that hasn't stepped.

        A worker that joins a server later starts from the model that it was sent.
        """
        if self._model is not None:
            return self.fresh_state(self._model)
        parameters, optimizer = self._training.initial(self.rank)
        return State(self.hold(parameters), self.hold(optimizer))

    def resume(self, *memory: Any) -> tuple[Any, ...]:
        """Return what was handed to this node, which joins or restarts, in the place of ``memory``.

        At first that is ``memory`` itself: what ``keep`` is given, as it is before anything is
        done.
        """
        return memory if self._handed is None else self._handed

    def keep(self, done: int, *memory: Any) -> Steps:
        """Tell all that is needed to go on: how much is done, numbers, Values, States and ``Own``.

        It ends a round, as ``done`` counts them; ``yield from`` it. Where the policy is to wait,
        nothing is kept. Else whoever joins is handed it, and checkpoints are made of it, which take
        time. A server keeps for itself, and workers of a server needn't.
        """
        self._done = done
        self._meetings_joined.clear()
        if self._world.keep is not None:
            yield from self._world.keep(self.rank, (done, *memory), self._steps_begun)

    def end(self) -> None:
        """Stop all that runs here, and forget all mail."""
        for life in self._lives:
            life.close()
        self._lives, self._handed, self._model, self._done = [], None, None, 0
        self.first_version = 0
        self._gradient_memory = None
        self.processor.abandon()
        self._world.num_thrown_away += self.mailbox.clear()
        self._meetings_joined.clear()
        self._to_welcome.clear()

    def go_on_from(self, memory: tuple[Any, ...], steps_begun: int | None) -> None:
        """Let ``memory`` be what ``resume`` returns, and the next batch that of ``steps_begun``."""
        self._handed, self._done = memory, memory[0]
        if steps_begun is not None:
            self._steps_begun = steps_begun

    def start_from(self, model: Value, version: int) -> None:
        """Let ``model`` be the parameters of ``initial_state``, and its version the first."""
        self._model, self.first_version = model, version

    def fresh_state(self, parameters: Value, after: State | None = None) -> State:
        """Return ``parameters`` with an optimiser that hasn't stepped.

        With ``after``, one that has forgotten what it had there, but for where the task's schedule
        of learning rates stands.
        """
        self._own(parameters)
        before = None if after is None else self._own(after.optimizer)
        return State(parameters, self.hold(self._training.fresh_state(self.rank, before)))

    def step(self, state: State, gradient: Value, optimizer: Optimizer | None = None) -> State:
        """Return the state after one step of an optimiser, by default that of the task.

        It costs no virtual time: that of the task's is part of the gradient's, and another one
        steps seldom.
        """
        return self._stepped(state, self._own(gradient), optimizer)

    def _stepped(self, state: State, gradient: Recipe, optimizer: Optimizer | None = None) -> State:
        parameters, memory = self._training.step(
            self._own(state.parameters), self._own(state.optimizer), gradient, self.rank, optimizer
        )
        return State(self.hold(parameters), self.hold(memory))

    def cut(self, vector: Value, piece_bytes: int) -> list[Value]:
        """Return the pieces of ``vector``, from its beginning to its end.

        A piece has as many entries as fit into ``piece_bytes``, and one if none fits. The first has
        what is left over.
        """
        pieces = self._training.cut(self._own(vector), piece_bytes, self.rank)
        return [self.hold(piece) for piece in pieces]

    def split(self, vector: Value, num_pieces: int) -> list[Value]:
        """Return ``num_pieces`` pieces of ``vector``, as equal as can be, in its order."""
        pieces = self._training.split(self._own(vector), num_pieces, self.rank)
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

    def apply(
        self,
        operation: Operation,
        *inputs: Value,
        arguments: tuple[int, ...] = (),
        num_bytes: int | None = None,
        num_entries: int | None = None,
    ) -> Value:
        """Return what a pure operation makes of ``inputs``; it costs no virtual time.

        By default the result is as long as the first input.

        Args:
            operation: of the math plane; ``execution.operation.PureOperation`` is a base for them.
            inputs: tensors that it is called with.
            arguments: whole numbers that it is called with after them, such as a rank and a step.
            num_bytes: what a message is charged for the result, if that is no vector.
            num_entries: length of the result, if that is a vector.
        """
        recipes = [self._own(value) for value in inputs]
        result = self._training.apply(
            operation, recipes, arguments, num_bytes, self.rank, num_entries
        )
        return self.hold(result)

    def apply_to_several(
        self,
        operation: Operation,
        *inputs: Value,
        arguments: tuple[int, ...] = (),
        sizes: Sequence[int],
    ) -> list[Value]:
        """Return the several results of a pure operation, of ``sizes`` bytes, one by one."""
        recipes = [self._own(value) for value in inputs]
        results = self._training.apply_to_several(operation, recipes, arguments, sizes, self.rank)
        return [self.hold(result) for result in results]

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
        progress: int | None = None,
        *,
        contributor: int | None = None,
        staleness: int = 0,
        batches: int | None = None,
    ) -> None:
        """Announce version ``progress`` of the model, as the strategy counts it.

        Where the strategy counts steps, workers publish replicas: they are averaged at equal
        progress, when the last worker has published its own. What a server publishes is the model
        itself; of several servers, each publishes its piece, and they are pasted at equal progress.
        Where updates are counted without a server, each worker publishes its replica
        whenever it changes, and nobody knows ``progress``: an update is a replica that trained, and
        the mean of the latest replicas of all workers that are there is the model.

        Args:
            model: the parameters.
            progress: 1, 2, ... as the strategy counts.
            contributor: whose push it was, where it was one worker's.
            staleness: updates between its reading and this one; the most where several were merged.
            batches: how many are behind this update and weren't behind the one before; by default
                those of ``Strategy.batches_per_count``. A replica that was only averaged has 0.
        """
        self._own(model)
        self._world.publish(self.rank, model, progress, contributor, staleness, batches)

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
