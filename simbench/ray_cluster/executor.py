"""The executor on Ray actors: each stands in for some nodes and keeps what they compute.

The driver holds no tensors. It sends an actor a few operations a call, as many as are worth the
cost of calling, and hears back what was done; results that cross actors go through Ray's object
store. An actor's calls run in order, so what depends on its own results needn't wait for the news.
"""

import functools
import itertools
import math
import threading
from collections import Counter, defaultdict
from concurrent.futures import Future
from typing import Any

import ray
from ray.actor import ActorHandle

from simbench.execution.local import num_cores
from simbench.execution.schedule import Schedule, Task
from simbench.execution.values import Recipe
from simbench.ray_cluster.actor import Answer, Call, NodeActor, share_tensors_as_arrays

_CALL_S = 0.008
"""A call gathers operations worth this long; calling costs about a tenth of it."""
_CALLS_AHEAD = 2
"""Calls that an actor may have before it: one to work on, one to go on with."""


class Placed:
    """Where a result lies; when nobody refers to this any more, it is dropped there."""

    __slots__ = ("_executor", "key", "lanes", "ref")

    def __init__(self, executor: "RayExecutor", key: bytes, lane: int) -> None:
        self._executor = executor
        self.key = key
        self.lanes = [lane]
        self.ref: Any = None

    def __del__(self) -> None:
        self._executor.forget(self)


class RayExecutor:
    """Computes recipes on actors; ``home`` of a recipe decides on which."""

    def __init__(
        self, num_nodes: int, nodes_per_actor: int | None = None, address: str | None = None
    ) -> None:
        """Join the cluster at ``address``, or start one on this machine, and start the actors.

        Raises:
            ConnectionError: nothing answers at ``address``.
            ValueError: the actors' machines or libraries differ, so bits would too.
        """
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            ray.init(
                address=address or "local",
                num_cpus=None if address else num_cores(),
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        share_tensors_as_arrays()
        resources = ray.cluster_resources()
        num_gpus = int(resources.get("GPU", 0))
        most = num_gpus or int(resources.get("CPU", 1))
        self._nodes_per_actor = nodes_per_actor or math.ceil(num_nodes / min(num_nodes, most))
        num_actors = math.ceil(num_nodes / self._nodes_per_actor)
        self.width = min(most, num_actors)
        # More actors than cores share the cores: what Ray reserves for each is not the real limit.
        share = {"num_gpus": min(1, num_gpus / num_actors)} if num_gpus else {
            "num_cpus": min(1, most / num_actors)
        }
        actor = ray.remote(NodeActor).options(**share)
        self._actors: list[ActorHandle] = [actor.remote() for _ in range(num_actors)]
        described = ray.get([each.describe.remote() for each in self._actors])
        if any(each != described[0] for each in described):
            raise ValueError(f"the actors' machines differ, so their bits would: {described}")
        self.device, self.fingerprint = described[0]
        self._schedule = Schedule(num_actors, self._lane_of)
        self._lock = threading.RLock()
        self._calls_under_way = [0] * num_actors
        self._seconds: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}
        self._counter = itertools.count()
        self._known: list[set[int]] = [set() for _ in range(num_actors)]
        self._dropped: list[list[bytes]] = [[] for _ in range(num_actors)]

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
        return self._schedule.operations_run

    @property
    def passed_over_run(self) -> Counter[str]:
        """How many of them had been passed over at first."""
        return self._schedule.passed_over_run

    def start(self, recipe: Recipe) -> Future[Any]:
        """Queue ``recipe`` and what it needs; fetch it if it was computed before."""
        with self._lock:
            if isinstance(recipe.result, Placed):
                placed = recipe.result
                call = Call(wanted=[placed.key])
                fetched: Future[Any] = Future()
                answer = self._send(placed.lanes[0], call, [])
                answer.add_done_callback(
                    lambda done: fetched.set_result(done.result().results[placed.key])
                )
                return fetched
            future = self._schedule.want(recipe)
            self._dispatch()
            return future

    def cancel(self) -> None:
        """Forget what is queued; calls that an actor has already end by themselves."""
        with self._lock:
            for future in self._schedule.clear():
                future.cancel()

    def close(self) -> None:
        """End the actors, and Ray if it was started here."""
        self.cancel()
        for actor in self._actors:
            ray.kill(actor)
        if self._owns_ray:
            ray.shutdown()

    def forget(self, placed: Placed) -> None:
        """Have a result dropped with the next call to the actors that hold it."""
        for lane in placed.lanes:
            self._dropped[lane].append(placed.key)

    def _lane_of(self, recipe: Recipe) -> int:
        # A server on its own machine has a rank behind the last worker's.
        return recipe.home // self._nodes_per_actor % len(self._actors)

    def _dispatch(self) -> None:
        """Give every actor that has room its next call."""
        for lane in range(len(self._actors)):
            while self._calls_under_way[lane] < _CALLS_AHEAD and self._schedule.ready[lane]:
                self._dispatch_to(lane)

    def _dispatch_to(self, lane: int) -> None:
        call, tasks, refs, expected_s = Call(), [], [], 0.0
        inside: set[bytes] = set()
        while expected_s < _CALL_S and (task := self._schedule.take(lane)):
            recipe = task.recipe
            for given in recipe.inputs:
                if given.key not in inside and (ref := self._bring(given, lane)) is not None:
                    call.imports.append(given.key)
                    refs.append(ref)
            call.tasks.append(
                (
                    recipe.key,
                    self._number(recipe, lane, call),
                    tuple(given.key for given in recipe.inputs),
                    recipe.arguments,
                )
            )
            if any(dependent.lane != lane for dependent in task.dependents):
                call.exports.append(recipe.key)
            if task.future is not None:
                call.wanted.append(recipe.key)
            inside.add(recipe.key)
            tasks.append(task)
            name = recipe.operation.name
            expected_s += self._seconds[name] / max(1, self._schedule.operations_run[name])
            self._schedule.begin(task)
        exported: dict[bytes, Any] = {}
        answer = self._send(lane, call, refs, exported)
        answer.add_done_callback(functools.partial(self._finish, tasks, exported))

    def _bring(self, recipe: Recipe, lane: int) -> Any:
        """Return a reference to the result of ``recipe`` if ``lane`` doesn't have it."""
        placed = recipe.result
        if not isinstance(placed, Placed) or lane in placed.lanes:
            return None  # under way in this very lane, or there already
        if placed.ref is None:
            exported: dict[bytes, Any] = {}
            self._send(placed.lanes[0], Call(exports=[placed.key]), [], exported)
            placed.ref = exported[placed.key]
        placed.lanes.append(lane)
        return placed.ref

    def _number(self, recipe: Recipe, lane: int, call: Call) -> int:
        """Return the number by which ``lane`` knows the operation; the call brings it if new."""
        operation = recipe.operation
        number = self._numbers.get(operation.identity)
        if number is None:
            number = self._numbers[operation.identity] = next(self._counter)
        if number not in self._known[lane]:
            self._known[lane].add(number)
            call.operations[number] = operation
        return number

    def _send(
        self, lane: int, call: Call, refs: list[Any], exported: dict[bytes, Any] | None = None
    ) -> Future[Answer]:
        """Send ``call``; the references of its exports are known at once."""
        call.dropped, self._dropped[lane] = self._dropped[lane], []
        self._calls_under_way[lane] += 1
        method = self._actors[lane].compute.options(num_returns=1 + len(call.exports))
        returned = method.remote(call, *refs)
        first, *others = returned if call.exports else [returned]
        if exported is not None:
            exported.update(zip(call.exports, others, strict=True))
        answer: Future[Answer] = first.future()
        answer.add_done_callback(functools.partial(self._heard, lane))
        return answer

    def _heard(self, lane: int, answer: Future[Answer]) -> None:
        with self._lock:
            self._calls_under_way[lane] -= 1
            if answer.exception() is None:
                self._seconds.update(answer.result().seconds)  # type: ignore[arg-type]
            self._dispatch()

    def _finish(
        self, tasks: list[Task], exported: dict[bytes, Any], answer: Future[Answer]
    ) -> None:
        error = answer.exception()
        kept: list[tuple[Future[Any], Any]] = []
        with self._lock:
            if error is None:
                results = answer.result().results
                for task in tasks:
                    placed = Placed(self, task.recipe.key, task.lane)
                    placed.ref = exported.get(task.recipe.key)
                    self._schedule.finish(task, placed)
                    if task.future is not None and not task.future.cancelled():
                        kept.append((task.future, results[task.recipe.key]))
                tasks.clear()
                self._dispatch()
            broken = [] if error is None else self._schedule.clear()
        for future, result in kept:
            future.set_result(result)
        for future in broken:
            if not future.done():
                future.set_exception(error)
