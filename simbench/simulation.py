"""One strategy, one seed: a scenario and an executor give records.

The clock runs ahead of the losses; losses are settled in virtual-time order, and the stop rule is
applied in that order, so the records don't depend on how far the clock or the executor ran ahead.
What lies behind the stop is cancelled.
"""

import functools
import gc
import itertools
import json
import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from simbench.clock import Clock
from simbench.devices import StepTimes
from simbench.execution.executor import Executor
from simbench.execution.keeper import Keeper
from simbench.execution.memo import Memo
from simbench.execution.values import GIVEN, PENDING, Graph, Recipe, Value, in_order
from simbench.influence import Influence
from simbench.learning.operations import Bench
from simbench.learning.privacy import spent
from simbench.learning.training import Training
from simbench.membership import Membership
from simbench.network.fabric import Fabric
from simbench.node import Node
from simbench.records import Evaluation, Happening, Message, Span, Update
from simbench.recovery import Recovery
from simbench.scenario import Scenario
from simbench.spec import dump_by_contents
from simbench.surroundings import Surroundings
from simbench.timeline import spans
from simbench.world import World

_LOOKAHEAD = 3
"""Evaluations that may be under way at once: enough to keep all cores busy past a boundary."""


class NoNumbersError(ValueError):
    """A strategy wants to look at a number where only the clock runs."""


@dataclass(frozen=True)
class Outcome:
    """What one run of one strategy with one seed gave."""

    evaluations: list[Evaluation]
    updates: list[Update]
    messages: list[Message]
    spans: list[Span]
    events: list[Happening]
    summary: dict[str, Any]
    known: Counter[str]
    """Operations that needn't run because a loss was known, by name."""
    clock_s: float
    """Processor time that the clock plane took."""


class _Version(NamedTuple):
    """A version of the model that is to be evaluated, and the books at its moment."""

    progress: int
    time_ns: int
    samples: int
    num_updates: int
    num_messages: int
    num_unread: int
    payload_bytes: int
    recipe: Recipe
    live: frozenset[Recipe]
    """What the rest of the run rests on, if it may be kept."""


class _Piece(NamedTuple):
    """What one of several servers has published."""

    recipe: Recipe | None
    contributor: int | None
    staleness: int
    batches: int


class _Settled(NamedTuple):
    version: _Version
    loss: float
    accuracy: float | None
    parameters_sha256: str


class Simulation:
    """The world of one strategy and seed; ``advance`` lets its clock run."""

    def __init__(
        self,
        scenario: Scenario,
        strategy: str,
        seed: int,
        *,
        device: str = "cpu",
        fingerprint: str = "",
        observe: Callable[[Recipe], Any] | None = None,
        notes_live: bool = False,
    ) -> None:
        self.scenario = scenario
        self._notes_live = notes_live
        self.name = strategy
        self.strategy = scenario.strategies[strategy]
        self.seed = seed
        self.graph = Graph()
        self.clock = Clock()
        self.work: list[tuple[int, int, int]] = []
        self.updates: list[Update] = []
        self.versions: deque[_Version] = deque()
        self.ended_by: str | None = None
        """Why no more versions will come: a budget, or ``stuck``."""
        self.end_ns = 0
        self.clock_s = 0.0
        task, cluster, num_workers = scenario.task, scenario.cluster, scenario.cluster.nodes
        beyond = itertools.count(num_workers)
        self.servers = tuple(
            next(beyond) if place == "own_machine" else place
            for place in self.strategy.server_places
        )
        self.num_nodes = num_workers + scenario.num_servers(self.strategy)
        self._batches_per_count = self.strategy.batches_per_count(num_workers)
        rate = self.strategy.learning_rate
        optimizer = task.optimizer.model_copy(update={"learning_rate": rate} if rate else {})
        self.learning_rate = optimizer.learning_rate
        weights = scenario.shard_weights
        bench = Bench(task, seed, num_workers, device, fingerprint, weights)
        self._bench = bench
        self._training = Training(self.graph, bench, optimizer, scenario.faults, scenario.partition)
        self._replicas: dict[int, dict[int, Recipe | None]] = {}
        self._pieces: dict[int, dict[int, _Piece]] = {}
        self._batches = [0]
        """Of all nodes together, behind each version."""
        self._step_times = StepTimes(cluster, task, seed, scenario.group)
        self._begun_ns: dict[int, list[int]] = {}
        """When each node began its gradients, where that is to be accounted for."""
        fabric = Fabric(self.clock, scenario.network, self.num_nodes, seed=seed)
        carrier = scenario.network.transport.carrier(fabric, seed)
        # Where nothing goes wrong, nothing has to be looked after.
        self.surroundings = (
            Surroundings(self.clock, fabric, carrier) if scenario.conditions else None
        )
        self.world = World(
            clock=self.clock,
            fabric=fabric,
            carrier=self.surroundings.deliveries if self.surroundings else carrier,
            all_reduce=scenario.all_reduce,
            all_gather=scenario.all_gather,
            servers=range(num_workers, self.num_nodes),
            training=self._training,
            seed=seed,
            num_workers=num_workers,
            server_ranks=self.servers,
            step_ns=self._begin_gradient,
            usual_step_ns=functools.cache(self._step_times.usual),
            backward_share=self._step_times.backward_share,
            worked=lambda rank, start_ns, end_ns: self.work.append((rank, start_ns, end_ns)),
            publish=self._publish,
            observe=observe or self._refuse_to_observe,
            membership=Membership(num_workers),
        )
        self.nodes = [Node(self.world, rank) for rank in range(self.num_nodes)]
        initial, _ = self._training.initial(0)
        self._latest = dict.fromkeys(range(num_workers), initial)
        """The replica of every worker that is there, where they count updates without a server."""
        self._last_update = [0] * num_workers
        """Of these workers, the update that each one made last, or joined after."""
        self._note_version(0, initial)
        if self.surroundings is not None:
            self._let_go_wrong(self.surroundings)
        self.recovery: Recovery | None = None
        self._start()

    def _start(self) -> None:
        """Let everybody begin, on their own or under the eyes of who looks after failures."""
        if self.strategy.on_failure.goes_on:
            self.recovery = Recovery(
                self.strategy.on_failure,
                self.world,
                self.nodes,
                self.surroundings,
                work=self.strategy.work,
                serve=self.strategy.serve,
                donors=self.strategy.donors,
                left=self._forget_replicas,
                joined=self._expect_replicas,
                went_back=self._forget_unfinished,
            )
            return
        for rank in range(self.world.num_workers):
            self.clock.process(self.strategy.work(self.nodes[rank]))
        for rank in self.servers:
            self.clock.process(self.strategy.serve(self.nodes[rank]))

    def _begin_gradient(self, rank: int, step: int) -> int:
        """Return the time that node ``rank``'s gradient number ``step`` takes from now on."""
        if self.scenario.task.privacy is not None:
            self._begun_ns.setdefault(rank, []).append(self.clock.now_ns)
        return self._step_times.of(rank, step)

    def privacy_spent(self, end_ns: int) -> dict[str, Any]:
        """Return what the node that computed most has spent of its samples' privacy by then."""
        task = self.scenario.task
        assert task.privacy is not None
        steps = max(sum(begun < end_ns for begun in each) for each in self._begun_ns.values())
        size = task.smallest_shard(self._bench.shares)
        rate = None if size is None else task.samples_per_step / size
        return {
            "epsilon": None if rate is None else spent(task.privacy, rate, steps),
            "delta": task.privacy.delta,
            "noise_multiplier": task.privacy.noise_multiplier,
            "sampling_rate": rate,
            "steps": steps,
        }

    def _let_go_wrong(self, surroundings: Surroundings) -> None:
        """Start the conditions: what holds at 0 holds before anybody begins to work."""
        surroundings.attach([node.processor for node in self.nodes])
        for number, condition in enumerate(self.scenario.conditions):
            kind, workers = condition.kind, self.scenario.cluster.nodes
            influence = Influence(surroundings, kind, number, self.seed, workers)
            self.clock.process(condition.play(influence))

    def samples(self, progress: int) -> int:
        """Return the samples behind version ``progress``, none that was dropped among them."""
        return self._batches[progress] * self.scenario.task.samples_per_step

    def advance(self) -> bool:
        """Run the clock to the next version that is to be evaluated; False if none comes."""
        begun_s = time.thread_time()
        known = len(self.versions)
        budget_ns = self.scenario.stop.virtual_time
        while len(self.versions) == known and self.ended_by is None:
            next_ns = self.clock.next_ns
            if next_ns is None or (self.surroundings is not None and self.surroundings.is_over):
                self.ended_by, self.end_ns = "stuck", self.clock.now_ns
            elif budget_ns is not None and next_ns > budget_ns:
                self.ended_by, self.end_ns = "virtual_time", budget_ns
            else:
                self.clock.step()
        self.clock_s += time.thread_time() - begun_s
        return len(self.versions) > known

    def finish_instant(self, end_ns: int) -> None:
        """Run everything that happens until ``end_ns``, and that instant included."""
        while (next_ns := self.clock.next_ns) is not None and next_ns <= end_ns:
            self.clock.step()

    def messages_until(self, end_ns: int, num_messages: int | None = None) -> list[Message]:
        """Return the first ``num_messages`` sent, no later than ``end_ns``, as they stood then."""
        kept = []
        for message in self.world.messages[:num_messages]:
            if message.sent_ns > end_ns:
                break
            arrived_ns = self.world.arrivals.get(message.number)
            if arrived_ns is not None and arrived_ns > end_ns:
                arrived_ns = None
            kept.append(message._replace(strategy=self.name, seed=self.seed, arrived_ns=arrived_ns))
        return kept

    def events_until(self, end_ns: int) -> list[Happening]:
        """Return what went wrong, no later than ``end_ns``."""
        happenings = [] if self.surroundings is None else self.surroundings.happenings
        name, seed = self.name, self.seed
        return [h._replace(strategy=name, seed=seed) for h in happenings if h.time_ns <= end_ns]

    def spans_until(self, end_ns: int, messages: list[Message]) -> list[Span]:
        """Return what every node was doing from 0 to ``end_ns``."""
        unfinished = [
            (node.rank, node.processor.busy_since_ns, end_ns)
            for node in self.nodes
            if node.processor.busy_since_ns is not None
        ]
        work = [*self.work, *unfinished]
        around = self.surroundings
        dropped = self.world.dropped
        ended = [m._replace(arrived_ns=dropped.get(m.number, m.arrived_ns)) for m in messages]
        tiles = spans(
            self.num_nodes,
            work,
            ended,
            end_ns,
            down=around.down_until(end_ns) if around else (),
            standstills=around.deliveries.standstills_until(end_ns) if around else (),
        )
        return [tile._replace(strategy=self.name, seed=self.seed) for tile in tiles]

    def who_waits(self) -> str:
        """Return who waits for whom, for people."""
        waiting = [
            f"node {node.rank} for {reader}"
            for node in self.nodes
            for reader in node.mailbox.readers
        ]
        for meeting in self.world.meetings.values():
            absent = meeting.absent(self.world.membership)
            waiting += [
                f"node {rank} for nodes {absent} to join {meeting.tag!r}" for rank in meeting.joined
            ]
        if not self.world.membership.members:
            waiting.append("every worker has left")
        if self.surroundings is not None:
            waiting += self.surroundings.complaints()
        return "; ".join(waiting) or "every process has ended"

    def _publish(
        self,
        rank: int,
        model: Value,
        progress: int | None,
        contributor: int | None,
        staleness: int,
        batches: int | None,
    ) -> None:
        if self.ended_by is not None:
            return
        per_count = self._batches_per_count
        if self.strategy.counts == "steps" and rank not in self.servers:
            assert progress is not None, "each worker counts its steps"
            assert batches is None, "a step is as many batches as any other"
            if not self._was_published(progress):
                self._publish_replica(rank, model.recipe, progress)
            return
        if len(self.servers) > 1:
            assert progress is not None, "each server counts"
            if not self._was_published(progress):
                taken = per_count if batches is None else batches
                piece = _Piece(model.recipe, contributor, staleness, taken)
                self._publish_piece(rank, progress, piece)
            return
        batches = per_count if batches is None else batches
        if self.servers:
            # What a server publishes is the model itself.
            if not self._was_published(progress):
                self._add_version(progress, [model.recipe], batches, contributor, staleness)
            return
        assert progress is None, "without a server nobody knows how many updates there are"
        self._latest[rank] = model.recipe
        if batches:
            done = len(self.updates)
            staleness = done - self._last_update[rank]
            self._last_update[rank] = done + 1
            latest = [self._latest[each] for each in sorted(self._latest)]
            self._add_version(done + 1, latest, batches, rank, staleness)

    def _was_published(self, progress: int | None) -> bool:
        """Whether this version is done again, after a failure."""
        again = progress is not None and progress < len(self._batches)
        return again and self.recovery is not None

    def _publish_replica(self, rank: int, recipe: Recipe, progress: int) -> None:
        """Take a worker's replica of one step: the last one makes the version."""
        batches = self._batches_per_count
        wanted = self._is_evaluated(progress, (progress - 1) * batches, progress * batches)
        # A replica that won't be evaluated must not be kept alive.
        kept = wanted or self._is_unsure
        self._replicas.setdefault(progress, {})[rank] = recipe if kept else None
        self._join_replicas(progress)

    @property
    def _is_unsure(self) -> bool:
        """Whether only a version's last part tells if it is evaluated, as workers may leave."""
        return self.recovery is not None and self.scenario.stop.samples is not None

    def _join_replicas(self, progress: int) -> None:
        """Enter the version of one step in the books, if the replicas of all are there."""
        replicas, everybody = self._replicas[progress], self.world.num_workers
        if self.recovery is not None:
            everybody = self.world.membership.count_in(progress)
        if len(replicas) < max(1, everybody):
            return
        del self._replicas[progress]
        ordered = [replicas[rank] for rank in sorted(replicas)]
        batches = self._batches_per_count * len(replicas) // self.world.num_workers
        self._add_version(progress, ordered, batches, None, 0)

    def _forget_replicas(self, rank: int) -> None:
        """Wait for ``rank`` no longer, which has left."""
        self._latest.pop(rank, None)
        for progress in sorted(self._replicas):
            self._replicas[progress].pop(rank, None)
            self._join_replicas(progress)

    def _expect_replicas(self, rank: int) -> None:
        """Let ``rank`` join, which will have read a replica of now."""
        self._last_update[rank] = len(self.updates)

    def _forget_unfinished(self) -> None:
        """Wait for nothing that was published before all went back."""
        self._replicas.clear()
        self._pieces.clear()

    def _add_version(
        self,
        progress: int | None,
        replicas: Sequence[Recipe | None],
        batches: int,
        contributor: int | None,
        staleness: int,
    ) -> None:
        """Enter the next version in the books: the mean of ``replicas``, if it is evaluated."""
        if self.ended_by is not None:
            return
        if self.recovery is not None and progress is not None:
            # Of versions that nobody was left to publish, nothing comes.
            self._batches += [self._batches[-1]] * (progress - len(self._batches))
        assert progress == len(self._batches), "versions are published in turn: 1, 2, ..."
        before, now_ns = self._batches[-1], self.clock.now_ns
        after = before + batches
        self._batches.append(after)
        self.updates.append(Update(self.name, self.seed, progress, now_ns, contributor, staleness))
        known = [each for each in replicas if each is not None]
        if known and self._is_evaluated(progress, before, after):
            mean = self._training.mix(known, None, 0) if len(known) > 1 else known[0]
            self._note_version(progress, mean)
        if self._is_last(progress, before, after):
            stop = self.scenario.stop
            by_updates = stop.updates is not None and progress >= stop.updates
            self.ended_by = "updates" if by_updates else "samples"
            self.end_ns = now_ns

    def _publish_piece(self, rank: int, progress: int, piece: _Piece) -> None:
        """Take one server's piece of a version of the model: the last one makes the version.

        It is the push of a worker if that is so of each piece, and as stale as the stalest. What
        didn't come to all servers, since its worker left meanwhile, is no batch.
        """
        batches = self._batches_per_count
        wanted = self._is_evaluated(progress, (progress - 1) * batches, progress * batches)
        pieces = self._pieces.setdefault(progress, {})
        kept = wanted or self._is_unsure
        pieces[rank] = piece if kept else piece._replace(recipe=None)
        if len(pieces) < len(self.servers):
            return
        # What some server has passed over before, it never publishes.
        self._pieces = {later: each for later, each in self._pieces.items() if later > progress}
        ordered = [pieces[server] for server in self.servers]
        recipes = [each.recipe for each in ordered if each.recipe is not None]
        whole = self._training.paste(recipes, self.servers[0]) if recipes else None
        contributors = {each.contributor for each in ordered}
        self._add_version(
            progress,
            [whole],
            min(each.batches for each in ordered),
            contributors.pop() if len(contributors) == 1 else None,
            max(each.staleness for each in ordered),
        )

    def _is_evaluated(self, progress: int, before: int, after: int) -> bool:
        """Whether this version is, which took the batches from ``before`` to ``after``."""
        every = self.scenario.evaluate_every
        if self.strategy.counts == "steps":
            is_due = progress % every == 0
        else:
            every *= self.scenario.cluster.nodes
            is_due = after // every > before // every
        return is_due or self._is_last(progress, before, after)

    def _is_last(self, progress: int, before: int, after: int) -> bool:
        stop, size = self.scenario.stop, self.scenario.task.samples_per_step
        return (stop.updates is not None and progress >= stop.updates) or (
            stop.samples is not None and before * size < stop.samples <= after * size
        )

    def _note_version(self, progress: int, parameters: Recipe) -> None:
        self.versions.append(
            _Version(
                progress,
                self.clock.now_ns,
                self.samples(progress),
                len(self.updates),
                len(self.world.messages),
                self.world.num_unread,
                self.world.payload_bytes,
                self._training.evaluation(parameters),
                # What goes on piece by piece is worked out from the wholes.
                frozenset(map(self._training.source, self._live()) if self._notes_live else ()),
            )
        )

    def _live(self) -> Iterator[Recipe]:
        """Yield what the rest of the run rests on, now."""
        yield from self.graph.live()
        for replicas in self._replicas.values():
            yield from (recipe for recipe in replicas.values() if recipe)
        for pieces in self._pieces.values():
            yield from (piece.recipe for piece in pieces.values() if piece.recipe)
        if not self.servers and self.strategy.counts == "updates":
            yield from self._latest.values()
        for meeting in self.world.meetings.values():
            yield from meeting.joined.values()
        for meeting in self.world.running:
            yield from meeting.joined.values()

    def _refuse_to_observe(self, recipe: Recipe) -> Any:
        raise NoNumbersError(
            f"strategy {self.name!r} looks at a number ({recipe.operation.name}) to decide what it "
            "does, so the clock plane can't run it without training"
        )


def simulation_on(
    executor: Executor,
    scenario: Scenario,
    strategy: str,
    seed: int,
    *,
    memo: Memo | None = None,
    recall: Callable[[Recipe], None] = lambda _: None,
    notes_live: bool = False,
) -> Simulation:
    """Return the world of ``strategy`` and ``seed``, whose Values ``executor`` will compute.

    Args:
        executor: who computes what the strategy observes.
        scenario: what to simulate.
        strategy: the name of one of its strategies.
        seed: one of its seeds, or another.
        memo: what numbers that were observed before are known by; it gets those that weren't.
        recall: called with a recipe before it is computed.
        notes_live: whether versions tell what the rest of the run rests on.
    """

    def observe(recipe: Recipe) -> Any:
        seen = memo.get(recipe.key) if memo else None
        if seen is None:
            recall(recipe)
            seen = executor.start(recipe).result()
            # Vectors are too large for it.
            if memo and isinstance(seen, float):
                memo.put(recipe.key, seen)
        return seen

    _check_executor(executor, scenario)
    return Simulation(
        scenario,
        strategy,
        seed,
        device=executor.device,
        fingerprint=fingerprint_text(executor),
        observe=observe,
        notes_live=notes_live,
    )


def _check_executor(executor: Executor, scenario: Scenario) -> None:
    """Refuse who computes other bits than the scenario asks for."""
    facts = executor.fingerprint
    if scenario.vectorise != ("vectorised" in facts):
        raise ValueError(
            f"vectorise: {str(scenario.vectorise).lower()} in the scenario doesn't fit the "
            f"executor: {executor.description}"
        )
    if scenario.deterministic and "deterministic" in facts:
        raise ValueError("the executor may give other bits each time: set deterministic: false")


_YOUNG = 10_000
"""New objects that garbage is looked for among, at a time: but for failures, a run leaves none."""


def simulate(
    scenario: Scenario,
    strategy: str,
    seed: int,
    executor: Executor,
    memo: Memo,
    settled: Callable[[Evaluation], None] = lambda _: None,
) -> Outcome:
    """Run ``strategy`` with ``seed`` until the stop rule ends it.

    Args:
        scenario: what to run.
        strategy: the name of one of its strategies.
        seed: of everything that is drawn.
        executor: who computes.
        memo: what is known; it gets what isn't, and now and then all that the run rests on.
        settled: called with each evaluation, in virtual-time order.
    """
    # A full collection of garbage would stop every thread to look through all that torch brings.
    gc.freeze()
    thresholds = gc.get_threshold()
    gc.set_threshold(_YOUNG, *thresholds[1:])
    try:
        return _simulate(scenario, strategy, seed, executor, memo, settled)
    finally:
        gc.set_threshold(*thresholds)
        # The world that was simulated is full of cycles, and holds vectors. What is frozen isn't
        # looked through, so this is quick; frozen itself, by the next run, it would stay.
        gc.collect()
        gc.unfreeze()


def _simulate(
    scenario: Scenario,
    strategy: str,
    seed: int,
    executor: Executor,
    memo: Memo,
    settled: Callable[[Evaluation], None],
) -> Outcome:
    label = f"{scenario.name}: {strategy}, seed {seed}"
    keeper = Keeper(executor, memo, _owner(scenario, strategy, seed), label)
    simulation = simulation_on(
        executor,
        scenario,
        strategy,
        seed,
        memo=memo,
        recall=keeper.recall,
        notes_live=memo.moments is not None,
    )
    passed_over: Counter[str] = Counter()
    run_before = executor.passed_over_run.copy()
    rows: list[Evaluation] = []
    stopped_by = None
    try:
        # Of versions only the last is held: each has all that was live at its moment.
        for last in _settle(simulation, executor, memo, keeper, passed_over):
            rows.append(_row(simulation, last))
            settled(rows[-1])
            keeper.keep_if_due(last.version.live)
            if scenario.stop.loss is not None and last.loss <= scenario.stop.loss:
                stopped_by = "loss"
                break
        keeper.keep(last.version.live)
    finally:
        executor.cancel()
    end_ns = last.version.time_ns if stopped_by else simulation.end_ns
    simulation.finish_instant(end_ns)
    known = passed_over - (executor.passed_over_run - run_before)
    return _outcome(simulation, last, rows, stopped_by or str(simulation.ended_by), end_ns, known)


def _owner(scenario: Scenario, strategy: str, seed: int) -> bytes:
    """Return whose moments replace each other: a run that goes further, on any network."""
    facts = [dump_by_contents(scenario.task), dump_by_contents(scenario.strategies[strategy])]
    return json.dumps([*facts, scenario.cluster.nodes, seed], sort_keys=True).encode()


def fingerprint_text(executor: Executor) -> str:
    """Return the executor's fingerprint as keys contain it."""
    return join_fingerprint(executor.fingerprint)


def join_fingerprint(fingerprint: Mapping[str, str]) -> str:
    """Return ``fingerprint`` as one line of text."""
    return ";".join(f"{name}={each}" for name, each in sorted(fingerprint.items()))


def _settle(
    simulation: Simulation,
    executor: Executor,
    memo: Memo,
    keeper: Keeper,
    passed_over: Counter[str],
) -> Iterator[_Settled]:
    """Yield versions with their losses in virtual-time order; the clock runs ahead of them."""
    under_way: deque[tuple[_Version, Future[Any] | dict[str, Any]]] = deque()

    def may_run_ahead() -> bool:
        # A known loss that is next may end the run, and what comes after it would be for nothing.
        known_next = under_way and not isinstance(under_way[0][1], Future)
        return len(under_way) < _LOOKAHEAD and not known_next

    while True:
        while may_run_ahead() and (simulation.versions or simulation.advance()):
            version = simulation.versions.popleft()
            found = memo.get(version.recipe.key)
            if found is None:
                keeper.recall(version.recipe)
                under_way.append((version, executor.start(version.recipe)))
            else:
                under_way.append((version, found))
                _pass_over(version.recipe, passed_over)
        if not under_way:
            return
        version, result = under_way.popleft()
        if isinstance(result, Future):
            result = result.result()
            memo.put(version.recipe.key, result)
            keeper.note_computed()
        yield _Settled(version, **result)


def _pass_over(recipe: Recipe, passed_over: Counter[str]) -> None:
    """Count what needn't run because the result of ``recipe`` is known."""
    for each in in_order([recipe], lambda r: r.result is PENDING and not r.passed_over, GIVEN):
        each.passed_over = True
        passed_over[each.operation.name] += 1


def _row(simulation: Simulation, settled: _Settled) -> Evaluation:
    version = settled.version
    return Evaluation(
        simulation.name,
        simulation.seed,
        version.progress,
        version.time_ns,
        version.samples,
        version.payload_bytes,
        settled.loss,
        settled.accuracy,
    )


def _outcome(
    simulation: Simulation,
    last: _Settled,
    evaluations: list[Evaluation],
    stopped_by: str,
    end_ns: int,
    known: Counter[str],
) -> Outcome:
    """Cut the books at the end and sum them up."""
    begun_s = time.thread_time()
    by_loss, loss = stopped_by == "loss", evaluations[-1].loss
    is_language_model = simulation.scenario.task.model.is_language_model
    updates = simulation.updates[: last.version.num_updates] if by_loss else simulation.updates
    num_messages = last.version.num_messages if by_loss else None
    messages = simulation.messages_until(end_ns, num_messages)
    tiles = simulation.spans_until(end_ns, messages)
    events = simulation.events_until(end_ns)
    staleness = [update.staleness_updates for update in updates]
    summary = {
        "strategy": simulation.name,
        "kind": simulation.strategy.kind,
        "seed": simulation.seed,
        "learning_rate": simulation.learning_rate,
        "machines": simulation.num_nodes,
        "servers": list(simulation.servers),
        "stopped_by": stopped_by,
        "stuck": simulation.who_waits() if stopped_by == "stuck" else None,
        "end_ns": end_ns,
        "time_to_target_ns": end_ns if by_loss else None,
        # JSON has no number for the loss of a run that diverged.
        "final_loss": loss if math.isfinite(loss) else None,
        "final_perplexity": _perplexity(loss) if is_language_model else None,
        "final_accuracy": evaluations[-1].accuracy,
        "samples": simulation.samples(updates[-1].update if updates else 0),
        "updates": len(updates),
        "payload_bytes": sum(message.num_bytes for message in messages),
        "mean_staleness_updates": sum(staleness) / len(staleness) if staleness else 0.0,
        "unread_messages": last.version.num_unread if by_loss else simulation.world.num_unread,
        "parameters_sha256": last.parameters_sha256,
    }
    if simulation.scenario.task.privacy is not None:
        summary["privacy"] = simulation.privacy_spent(end_ns)
    if simulation.scenario.conditions:
        summary |= _what_it_cost(events)
    if simulation.recovery is not None:
        summary |= simulation.recovery.sum_up(events, end_ns)
    clock_s = simulation.clock_s + time.thread_time() - begun_s
    return Outcome(evaluations, updates, messages, tiles, events, summary, known, clock_s)


def _perplexity(loss: float) -> float | None:
    """Return exp(loss), tokens among which one would have to guess; None if that isn't finite."""
    return math.exp(loss) if loss < math.log(sys.float_info.max) else None


def _what_it_cost(events: list[Happening]) -> dict[str, int]:
    """Return what was done twice because something went wrong."""
    again = [each.resent_bytes for each in events if each.resent_bytes is not None]
    return {
        "retries": len(again),
        "resent_bytes": sum(again),
        "lost_compute_ns": sum(each.lost_ns for each in events if each.lost_ns is not None),
    }
