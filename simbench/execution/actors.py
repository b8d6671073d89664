"""The executor on actors: each stands in for some nodes and keeps what they compute.

The driver holds no tensors. It says beforehand which actor computes what and who needs it, and
hears of nothing but what somebody waits for: the actors exchange results among themselves. What
an actor is, a child process or an actor of Ray, makes no difference here.
"""

import functools
import itertools
import pickle
import secrets
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import cloudpickle

from simbench.execution.actor import Program
from simbench.execution.placement import Placement
from simbench.execution.values import PENDING, Recipe, in_order


class ActorHandle(Protocol):
    """How the driver reaches one actor."""

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Have the actor call one of its methods; calls are done in the order of asking."""
        ...

    def news(self) -> Iterator[bytes]:
        """Yield what ``Actor.news`` does, until the actor ends; then an error says how."""
        ...

    def kill(self) -> None:
        """End the actor at once."""
        ...


class Placed:
    """Where a result lies, or will; when nobody refers to this any more, it is dropped there.

    Actors know results by slots, not by keys: the same key may be computed for two runs, and what
    one of them drops the other still needs.
    """

    __slots__ = ("_executor", "actors", "era", "slot")

    def __init__(self, executor: "ActorExecutor", era: int, slot: int, actors: list[int]) -> None:
        self._executor = executor
        self.era = era
        self.slot = slot
        self.actors = actors

    def __del__(self) -> None:
        self._executor.forget(self)


class ActorExecutor:
    """Computes recipes on actors; ``home`` of a recipe decides on which."""

    def __init__(
        self,
        actors: Sequence[ActorHandle],
        nodes_per_actor: int,
        width: int,
        device: str,
        fingerprint: dict[str, str],
    ) -> None:
        """Make ``actors`` known to each other; as many as ``width`` compute side by side."""
        self.width = width
        self.device = device
        self.fingerprint = fingerprint
        self._actors = actors
        self._nodes_per_actor = nodes_per_actor
        self._lock = threading.RLock()
        self._era = 0
        self._slots = itertools.count()
        self._numbers: dict[str, int] = {}
        self._known: list[set[int]] = [set() for _ in actors]
        self._dropped: list[deque[int]] = [deque() for _ in actors]
        self._placement = Placement(len(actors), nodes_per_actor)
        self._ended: Exception | None = None
        """Why an actor ended, if one did."""
        self._wanted: defaultdict[int, list[tuple[Future[Any], Placed]]] = defaultdict(list)
        self._listeners = [
            threading.Thread(target=self._listen, args=(each,), name="simbench-news", daemon=True)
            for each in actors
        ]
        for listener in self._listeners:
            listener.start()
        self._call_all("connect", self._call_all("address"), secrets.token_bytes())

    @property
    def operations_run(self) -> Counter[str]:
        """How many operations of each name were computed."""
        return self._counts()[0]

    @property
    def passed_over_run(self) -> Counter[str]:
        """How many of them had been passed over at first."""
        return self._counts()[1]

    @property
    def peak_memory_bytes(self) -> list[int]:
        """The most memory that each actor has had resident."""
        return self._call_all("peak_memory_bytes")

    @property
    def calls_run(self) -> Counter[str]:
        """Each operation is a call of its own."""
        return self.operations_run

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
        """End the actors."""
        self.cancel()
        for actor in self._actors:
            actor.kill()
        for listener in self._listeners:
            listener.join()

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
                sent = self._actors[actor].call("extend", cloudpickle.dumps(program))
                sent.add_done_callback(functools.partial(self._check, self._era))

    def _check(self, era: int, sent: Future[None]) -> None:
        if (error := sent.exception()) is not None and era == self._era:
            self._fail(error)

    def _listen(self, actor: ActorHandle) -> None:
        """Hear what an actor has to tell, until it ends."""
        try:
            for told in actor.news():
                self._hear(*pickle.loads(told))  # noqa: S301 - our own actor sent it
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
            actor.call("cancel", self._era)
        return promised

    def _counts(self) -> tuple[Counter[str], Counter[str]]:
        run, passed_over = Counter[str](), Counter[str]()
        for each in self._call_all("counts"):
            run += each[0]
            passed_over += each[1]
        return run, passed_over

    def _call_all(self, method: str, *arguments: Any) -> list[Any]:
        """Return what every actor answers."""
        answers = [actor.call(method, *arguments) for actor in self._actors]
        return [answer.result() for answer in answers]
