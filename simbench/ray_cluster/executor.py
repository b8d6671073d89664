"""The executor on Ray actors: each stands in for some nodes and keeps what they compute.

The driver holds no tensors. It sends an actor a few operations a call, as many as are worth the
cost of calling, and hears back what was done; results that cross actors go through Ray's object
store. An actor's calls run in order, so what depends on its own results needn't wait for the news.
"""

import functools
import itertools
import math
import os
import pickle
import socket
import threading
from collections import Counter, defaultdict, deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.actor import ActorHandle
from ray.exceptions import AuthenticationError

import simbench
from simbench.execution.local import num_cores
from simbench.execution.schedule import Schedule, Task
from simbench.execution.values import Recipe
from simbench.ray_cluster.actor import Answer, Call, NodeActor, share_tensors_as_arrays

_CALL_S = 0.008
"""A call gathers operations worth this long; calling costs about a tenth of it."""
_CALLS_AHEAD = 2
"""Calls that an actor may have before it: one to work on, one to go on with."""


_ANSWER_S = 5.0
"""A cluster that doesn't answer within this time isn't there; Ray itself would try for minutes."""


class Placed:
    """Where a result lies; when nobody refers to this any more, it is dropped there.

    Actors know results by slots, not by keys: the same key may be computed for two runs, and what
    one of them drops the other still needs.
    """

    __slots__ = ("_executor", "lanes", "ref", "slot")

    def __init__(self, executor: "RayExecutor", slot: int, lane: int) -> None:
        self._executor = executor
        self.slot = slot
        self.lanes = [lane]
        self.ref: Any = None

    def __del__(self) -> None:
        self._executor.forget(self)


def _join(address: str | None) -> None:
    """Join the cluster at ``address``, or start Ray on this machine."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        ray.init(address="local", num_cpus=num_cores(), include_dashboard=False, **quiet)
        return
    _check_that_it_answers(address)
    # A job has brought this package with it; elsewhere the cluster gets it from here.
    in_a_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    package = str(Path(simbench.__file__).parent)
    try:
        ray.init(
            address=address, runtime_env=None if in_a_job else {"py_modules": [package]}, **quiet
        )
    except (ConnectionError, ValueError, RuntimeError, AuthenticationError) as error:
        raise ConnectionError(f"{address}: no Ray cluster to join: {error}") from None


def _check_that_it_answers(address: str) -> None:
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise ConnectionError(f"{address}: expected HOST:PORT of a Ray cluster, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"{address}: no Ray cluster to join: {error}") from None


def _unpickle(answer: Future[Answer], done: Future[bytes]) -> None:
    """Settle ``answer`` as the actor did."""
    if (error := done.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(pickle.loads(done.result()))  # noqa: S301 - our own actor sent it


def _pass_on(answer: Future[Answer], slot: int, fetched: Future[Any]) -> None:
    """Settle ``fetched`` with the one result that was asked for, or with what went wrong."""
    error = answer.exception()
    if error is None:
        fetched.set_result(answer.result().results[slot])
    else:
        fetched.set_exception(error)


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
            _join(address)
        share_tensors_as_arrays()
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
        actor: Any = ray.remote(NodeActor).options(**share)
        self._actors: list[ActorHandle[NodeActor]] = [actor.remote() for _ in range(num_actors)]
        described: list[tuple[str, dict[str, str]]] = ray.get(
            [each.describe.remote() for each in self._actors]
        )
        if any(each != described[0] for each in described):
            raise ValueError(f"the actors' machines differ, so their bits would: {described}")
        self.device, self.fingerprint = described[0]
        self._schedule = Schedule(num_actors, self._lane_of)
        self._lock = threading.RLock()
        self._era = 0
        self._calls_under_way = [0] * num_actors
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._numbers: dict[str, int] = {}
        self._slots = itertools.count()
        self._under_way: dict[bytes, Placed] = {}
        self._known: list[set[int]] = [set() for _ in range(num_actors)]
        self._dropped: list[deque[int]] = [deque() for _ in range(num_actors)]

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
        with self._lock:
            return self._schedule.operations_run.copy()

    @property
    def passed_over_run(self) -> Counter[str]:
        """How many of them had been passed over at first."""
        with self._lock:
            return self._schedule.passed_over_run.copy()

    def start(self, recipe: Recipe) -> Future[Any]:
        """Queue ``recipe`` and what it needs; fetch it if it was computed before."""
        with self._lock:
            if isinstance(recipe.result, Placed):
                fetched: Future[Any] = Future()
                self._fetch(recipe.result, fetched)
                return fetched
            future = self._schedule.want(recipe)
            self._dispatch()
            return future

    def _fetch(self, placed: Placed, into: Future[Any]) -> None:
        answer, _ = self._send(placed.lanes[0], Call(wanted=[placed.slot]), [])
        # The callback holds ``placed``, so that nothing drops it before it has come.
        answer.add_done_callback(lambda done: _pass_on(done, placed.slot, into))

    def cancel(self) -> None:
        """Forget what is queued; calls that an actor has already end by themselves."""
        with self._lock:
            for future in self._forget_all():
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
            self._dropped[lane].append(placed.slot)

    def _lane_of(self, recipe: Recipe) -> int:
        # A server on its own machine has a rank behind the last worker's.
        return recipe.home // self._nodes_per_actor % len(self._actors)

    def _dispatch(self) -> None:
        """Give every actor that has room its next call."""
        lanes = range(len(self._actors))
        # What one actor is given may be what another's next call waits for.
        while any(self._dispatch_to(lane) for lane in lanes):
            pass

    def _dispatch_to(self, lane: int) -> bool:
        """Give ``lane`` its next call, if it has room and there is one; say whether."""
        if self._calls_under_way[lane] >= _CALLS_AHEAD:
            return False
        # Nothing is ready: wait at the actor itself for what others are computing now.
        take = self._schedule.take if self._schedule.ready[lane] else self._schedule.take_ahead
        call, expected_s = Call(), 0.0
        tasks: list[tuple[Task, Placed]] = []
        refs: list[Any] = []
        while expected_s < _CALL_S and (task := take(lane)):
            take = self._schedule.take
            recipe = task.recipe
            given = [self._bring(each, lane, call, refs) for each in recipe.inputs]
            placed = self._under_way[recipe.key] = Placed(self, next(self._slots), lane)
            number = self._number(recipe, lane, call)
            call.tasks.append((placed.slot, number, given, recipe.arguments))
            if any(dependent.lane != lane for dependent in task.dependents):
                call.exports.append(placed.slot)
            if task.future is not None:
                call.wanted.append(placed.slot)
            tasks.append((task, placed))
            expected_s += self._expect_s(recipe.operation.name)
            self._schedule.begin(task)
            if call.exports and expected_s < _CALL_S / 2 and self._next_is_long(lane):
                break  # others wait for what is exported: it comes back when the call ends
        if not tasks:
            return False
        answer, exported = self._send(lane, call, refs)
        for _, placed in tasks:
            placed.ref = exported.get(placed.slot)
        answer.add_done_callback(functools.partial(self._finish, tasks, self._era))
        return True

    def _next_is_long(self, lane: int) -> bool:
        queue = self._schedule.ready[lane]
        return bool(queue) and self._expect_s(queue[0].recipe.operation.name) > _CALL_S / 2

    def _expect_s(self, name: str) -> float:
        """Return what an operation took so far; one that nobody has timed fills a call."""
        times = self._schedule.operations_run[name]
        return self._seconds[name] / times if times else _CALL_S

    def _bring(self, recipe: Recipe, lane: int, call: Call, refs: list[Any]) -> int:
        """Return the slot of a result; have ``call`` import it if ``lane`` doesn't have it."""
        placed = self._under_way.get(recipe.key) or recipe.result
        if lane not in placed.lanes:
            if placed.ref is None:
                _, exported = self._send(placed.lanes[0], Call(exports=[placed.slot]), [])
                placed.ref = exported[placed.slot]
            placed.lanes.append(lane)
            call.imports.append(placed.slot)
            refs.append(placed.ref)
        return int(placed.slot)

    def _number(self, recipe: Recipe, lane: int, call: Call) -> int:
        """Return the number by which ``lane`` knows the operation; the call brings it if new."""
        operation = recipe.operation
        number = self._numbers.get(operation.identity)
        if number is None:
            number = self._numbers[operation.identity] = len(self._numbers)
        if number not in self._known[lane]:
            self._known[lane].add(number)
            call.operations[number] = operation
        return number

    def _send(
        self, lane: int, call: Call, refs: list[Any]
    ) -> tuple[Future[Answer], dict[int, Any]]:
        """Send ``call``; return its answer to come, and references to its exports at once."""
        # One by one: any thread may let go of a result at any moment, without the lock.
        while self._dropped[lane]:
            call.dropped.append(self._dropped[lane].popleft())
        self._calls_under_way[lane] += 1
        method: Any = self._actors[lane].compute.options(num_returns=1 + len(call.exports))
        # Operations of a user's own script have no module that an actor could import.
        returned = method.remote(cloudpickle.dumps(call), *refs)
        first, *others = returned if call.exports else [returned]
        answer: Future[Answer] = Future()
        answer.add_done_callback(functools.partial(self._heard, lane))
        first.future().add_done_callback(functools.partial(_unpickle, answer))
        return answer, dict(zip(call.exports, others, strict=True))

    def _forget_all(self) -> list[Future[Any]]:
        """Clear the schedule; what calls under way will tell is about an era that is over."""
        self._era += 1
        return self._schedule.clear()

    def _heard(self, lane: int, answer: Future[Answer]) -> None:
        with self._lock:
            self._calls_under_way[lane] -= 1
            if answer.exception() is None:
                for name, seconds in answer.result().seconds.items():
                    self._seconds[name] += seconds
            self._dispatch()

    def _finish(self, tasks: list[tuple[Task, Placed]], era: int, answer: Future[Answer]) -> None:
        error = answer.exception()
        kept: list[tuple[Future[Any], Any]] = []
        with self._lock:
            for task, placed in tasks:
                if self._under_way.get(task.recipe.key) is placed:
                    del self._under_way[task.recipe.key]
                if error is None:
                    self._schedule.finish(task, placed)
                    if task.future is None or task.future.cancelled():
                        continue
                    results = answer.result().results
                    if placed.slot in results:
                        kept.append((task.future, results[placed.slot]))
                    else:  # somebody asked for it when the call had left
                        self._fetch(placed, task.future)
            tasks.clear()
            # A call that was sent behind a failed one fails too: that mustn't break what is new.
            broken = self._forget_all() if error is not None and era == self._era else []
            self._dispatch()
        for future, result in kept:
            future.set_result(result)
        for future in broken:
            if not future.done():
                future.set_exception(error)
