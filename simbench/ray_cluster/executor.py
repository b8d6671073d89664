"""The executor on Ray actors: each stands in for some nodes and keeps what they compute.

The driver holds no tensors. It says beforehand which actor computes what and who needs it, and
hears of nothing but what somebody waits for: the actors exchange results among themselves.
"""

import functools
import itertools
import math
import pickle
import secrets
import threading
from collections import Counter, defaultdict, deque
from concurrent.futures import Future
from typing import Any

import ray
from ray import cloudpickle
from ray.actor import ActorHandle

from simbench.execution.values import PENDING, Recipe, in_order
from simbench.ray_cluster.actor import NodeActor, Program
from simbench.ray_cluster.joining import join
from simbench.ray_cluster.placement import Placement

_START_S = 120.0
"""Actors that haven't started by then find no room; Ray itself would wait for ever."""


class Placed:
    """Where a result lies, or will; when nobody refers to this any more, it is dropped there.

    Actors know results by slots, not by keys: the same key may be computed for two runs, and what
    one of them drops the other still needs.
    """

    __slots__ = ("_executor", "actors", "era", "slot")

    def __init__(self, executor: "RayExecutor", era: int, slot: int, actors: list[int]) -> None:
        self._executor = executor
        self.era = era
        self.slot = slot
        self.actors = actors

    def __del__(self) -> None:
        self._executor.forget(self)


class RayExecutor:
    """Computes recipes on actors; ``home`` of a recipe decides on which."""

    def __init__(
        self, num_nodes: int, nodes_per_actor: int | None = None, address: str | None = None
    ) -> None:
        """Join the cluster at ``address``, or start one on this machine, and start the actors.

        Raises:
            ConnectionError: nothing answers at ``address``, or the cluster has no room.
            ValueError: the actors' machines or libraries differ, so bits would too.
        """
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            join(address)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        num_gpus = int(resources.get("GPU", 0))
        most = num_gpus or int(resources.get("CPU", 1))
        self._nodes_per_actor = nodes_per_actor or math.ceil(num_nodes / min(num_nodes, most))
        num_actors = math.ceil(num_nodes / self._nodes_per_actor)
        self.width = min(most, num_actors)
        # More actors than cores share the cores: what Ray reserves for each is not the real limit.
        share = (
            {"num_gpus": min(1, num_gpus / num_actors)}
            if num_gpus
            else {"num_cpus": min(1, most / num_actors)}
        )
        remote: Any = ray.remote
        actor = remote(concurrency_groups={"news": 1})(NodeActor).options(**share)
        self._actors: list[ActorHandle[NodeActor]] = [actor.remote() for _ in range(num_actors)]
        described = self._describe()
        if any(each != described[0] for each in described):
            raise ValueError(f"the actors' machines differ, so their bits would: {described}")
        self.device, self.fingerprint = described[0]
        addresses: list[tuple[str, int]] = ray.get([each.address.remote() for each in self._actors])
        token = secrets.token_bytes()
        ray.get([each.connect.remote(addresses, token) for each in self._actors])
        self._lock = threading.RLock()
        self._era = 0
        self._slots = itertools.count()
        self._numbers: dict[str, int] = {}
        self._known: list[set[int]] = [set() for _ in range(num_actors)]
        self._dropped: list[deque[int]] = [deque() for _ in range(num_actors)]
        self._placement = Placement(num_actors, self._nodes_per_actor)
        self._ended: Exception | None = None
        """Why an actor ended, if one did."""
        self._wanted: defaultdict[int, list[tuple[Future[Any], Placed]]] = defaultdict(list)
        self._listeners = [
            threading.Thread(target=self._listen, args=(each,), name="simbench-news", daemon=True)
            for each in self._actors
        ]
        for listener in self._listeners:
            listener.start()

    def _describe(self) -> list[tuple[str, dict[str, str]]]:
        """Wait until all actors have started; return their devices and fingerprints."""
        answers: Any = [each.describe.remote() for each in self._actors]
        _, missing = ray.wait(answers, num_returns=len(answers), timeout=_START_S)
        if missing:
            for actor in self._actors:
                ray.kill(actor)
            if self._owns_ray:
                ray.shutdown()
            raise ConnectionError(
                f"{len(missing)} of {len(answers)} actors haven't started within {_START_S:.0f} s: "
                "is the cluster full?"
            )
        return list(ray.get(answers))

    @property
    def description(self) -> str:
        """One line for people."""
        plural = "" if len(self._actors) == 1 else "s"
        return (
            f"{len(self._actors)} Ray actor{plural} on {self.device}, "
            f"{self._nodes_per_actor} nodes each"
        )

    @property
    def operations_run(self) -> Counter[str]:
        """How many operations of each name were computed."""
        return self._counts()[0]

    @property
    def passed_over_run(self) -> Counter[str]:
        """How many of them had been passed over at first."""
        return self._counts()[1]

    def start(self, recipe: Recipe) -> Future[Any]:
        """Have ``recipe`` computed, and what it needs; the future brings its result here.

        Raises:
            LookupError: it rests on results that were given up when something was cancelled.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._ended is not None:
                future.set_exception(self._ended)
                return future
            if recipe.result is not PENDING and not isinstance(recipe.result, Placed):
                future.set_result(recipe.result)
                return future
            programs = [Program(self._era) for _ in self._actors]
            self._write(recipe, programs)
            placed = self._place_of(recipe)
            programs[placed.actors[0]].wanted.append(placed.slot)
            self._wanted[placed.slot].append((future, placed))
            self._send(programs)
        return future

    def cancel(self) -> None:
        """Give up everything that was started; what an actor is computing now ends by itself."""
        with self._lock:
            promised = self._forget_all()
        for future in promised:
            future.cancel()

    def close(self) -> None:
        """End the actors, and Ray if it was started here."""
        self.cancel()
        for actor in self._actors:
            ray.kill(actor)
        for listener in self._listeners:
            listener.join()
        if self._owns_ray:
            ray.shutdown()

    def forget(self, placed: Placed) -> None:
        """Have a result dropped with the next program of the actors that hold it."""
        for actor in placed.actors:
            self._dropped[actor].append(placed.slot)

    def _write(self, recipe: Recipe, programs: list[Program]) -> None:
        """Write into ``programs`` how ``recipe`` is computed, and settle it with its place."""
        order = list(in_order([recipe]))
        self._give(order, programs)
        self._placement.balance(order)
        where = self._placement.spread(order, lambda each: self._place_of(each).actors)
        for each in order:
            placed = Placed(self, self._era, next(self._slots), sorted(where[each]))
            for actor in placed.actors:
                given = [self._bring(i, actor, programs) for i in each.inputs]
                number = self._number(each, actor, programs)
                # What several compute was passed over once.
                over = each.passed_over and actor == placed.actors[0]
                task = placed.slot, number, given, each.arguments, over
                programs[actor].tasks.append(task)
            each.settle(placed)

    def _place_of(self, recipe: Recipe) -> Placed:
        placed: Placed = recipe.result
        if placed.era != self._era:
            raise LookupError(f"{recipe.operation.name}: given up with what was cancelled")
        return placed

    def _give(self, order: list[Recipe], programs: list[Program]) -> None:
        """Give the actors what ``order`` rests on and this process holds."""
        for each in {given for recipe in order for given in recipe.inputs}:
            if each.result is not PENDING and not isinstance(each.result, Placed):
                actor = self._placement.actor_of(each.home)
                placed = Placed(self, self._era, next(self._slots), [actor])
                programs[actor].given[placed.slot] = each.result
                each.settle(placed)

    def _bring(self, recipe: Recipe, actor: int, programs: list[Program]) -> int:
        """Return the slot of a result; have it sent to ``actor`` if it isn't there."""
        placed = self._place_of(recipe)
        if actor not in placed.actors:
            programs[placed.actors[0]].exports.append((placed.slot, actor))
            programs[actor].imports.append(placed.slot)
            placed.actors.append(actor)
        return placed.slot

    def _number(self, recipe: Recipe, actor: int, programs: list[Program]) -> int:
        """Return the number by which ``actor`` knows the operation, which it gets if it is new."""
        operation = recipe.operation
        number = self._numbers.setdefault(operation.identity, len(self._numbers))
        if number not in self._known[actor]:
            self._known[actor].add(number)
            programs[actor].operations[number] = operation
        return number

    def _send(self, programs: list[Program]) -> None:
        for actor, program in enumerate(programs):
            # One by one: any thread may let go of a result at any moment, without the lock.
            while self._dropped[actor]:
                program.dropped.append(self._dropped[actor].popleft())
            if program != Program(self._era):
                # Operations of a user's own script have no module that an actor could import.
                pickled = cloudpickle.dumps(program)  # type: ignore[no-untyped-call]
                sent: Any = self._actors[actor].extend.remote(pickled)
                sent.future().add_done_callback(functools.partial(self._check, self._era))

    def _check(self, era: int, sent: Future[None]) -> None:
        if (error := sent.exception()) is not None and era == self._era:
            self._fail(error)

    def _listen(self, actor: "ActorHandle[NodeActor]") -> None:
        """Hear what an actor has to tell, until it ends."""
        news: Any = actor.news.remote()
        try:
            for told in news:
                self._hear(*pickle.loads(ray.get(told)))  # noqa: S301 - our own actor sent it
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            self._ended = error
            self._fail(error)

    def _hear(self, era: int, slot: int, error: BaseException | None, result: Any) -> None:
        with self._lock:
            if era != self._era:
                return
            waiting = self._wanted.pop(slot, []) if error is None else []
        for future, _ in waiting:
            if not future.done():
                future.set_result(result)
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            promised = self._forget_all()
        for future in promised:
            if not future.done():
                future.set_exception(error)

    def _forget_all(self) -> list[Future[Any]]:
        """Begin a new era; return the promises of the old one."""
        self._era += 1
        self._placement = Placement(len(self._actors), self._nodes_per_actor)
        promised = [future for each in self._wanted.values() for future, _ in each]
        self._wanted.clear()
        for actor in self._actors:
            actor.cancel.remote(self._era)
        return promised

    def _counts(self) -> tuple[Counter[str], Counter[str]]:
        run, passed_over = Counter[str](), Counter[str]()
        counts: list[tuple[Counter[str], Counter[str]]] = ray.get(
            [each.counts.remote() for each in self._actors]
        )
        for each in counts:
            run += each[0]
            passed_over += each[1]
        return run, passed_over
