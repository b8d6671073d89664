"""The actor: it stands in for some nodes, computes what it is told, sends on what others need."""

import functools
import pickle
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cloudpickle
import torch

from simbench.execution.devices import moved
from simbench.execution.memory import peak_resident_bytes
from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Effort, Operation, Recipe
from simbench.execution.wire import Wires


@dataclass
class Program:
    """What an actor is to do; slots name results, the same ones on every actor."""

    era: int
    """Counts what was cancelled: results of an earlier era are nobody's business."""
    operations: dict[int, Operation] = field(default_factory=dict)
    """Operations that it hasn't met, by their number."""
    given: dict[int, Any] = field(default_factory=dict)
    """Results that the driver held, by slot."""
    imports: list[int] = field(default_factory=list)
    """Slots whose results other actors will send."""
    tasks: list[tuple[int, int, list[int], tuple[int, ...], bool]] = field(default_factory=list)
    """(slot, operation's number, slots of the inputs, arguments, passed over), inputs first."""
    exports: list[tuple[int, int]] = field(default_factory=list)
    """(slot, number of the actor to send it to)."""
    wanted: list[int] = field(default_factory=list)
    """Slots whose results the driver wants to see."""
    dropped: list[int] = field(default_factory=list)
    """Slots that no later program will name."""


@dataclass(frozen=True)
class Arrival:
    """Stands for what another actor computes."""

    name = "arrival"
    identity = "arrival"
    effort: ClassVar[Effort] = "heavy"

    def __call__(self) -> Any:
        """Never come to this.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("this result comes from another actor")


_Keep = Callable[[int, int, Any], None]
"""Passes a result on, given the era, the slot and the result."""

_STREAMS = 4
"""Operations that an actor has on a GPU at a time: twice as fast there as one (an H100, a GPT)."""


class Actor:
    """Computes for the nodes that it stands in for, one single-threaded operation at a time.

    On a GPU it has a few under way, each in a thread of its own.
    """

    def __init__(self, host: str, device: str = "cpu") -> None:
        """Listen on ``host`` for what other actors send; compute on ``device``."""
        torch.set_num_threads(1)
        self.device = device
        self._operations: dict[int, Operation] = {}
        self._results: dict[int, Recipe] = {}
        self._awaited: dict[int, Recipe] = {}
        self._early: dict[int, Any] = {}
        """Results that came before the program that says what they are for."""
        self._era = 0
        self._lock = threading.RLock()
        self._news: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._pool = ThreadExecutor(_STREAMS if device == "cuda" else 1, device, is_sole_owner=True)
        self._wires = Wires(host, arrived=lambda message: self._take(*message))

    def address(self) -> tuple[str, int]:
        """Return where the other actors reach this one."""
        return self._wires.address

    def connect(self, peers: list[tuple[str, int]], token: bytes) -> None:
        """Get to know the addresses of all actors, and the word by which they know each other."""
        self._wires.connect(peers, token)

    def extend(self, pickled_program: bytes) -> None:
        """Do what a ``Program`` says, after what earlier ones said.

        The pickle is made by hand: that is several times cheaper than Ray's way to find out how.
        """
        program: Program = pickle.loads(pickled_program)  # noqa: S301 - our own driver sent it
        era = program.era
        with self._lock:
            if era < self._era:
                return  # another actor was faster to send what came after
            self.cancel(era)
            self._operations.update(program.operations)
            for slot, result in program.given.items():
                self._note(slot, Arrival(), [], ()).settle(moved(result, self.device))
            for slot in program.imports:
                self._expect(slot)
            for slot, number, inputs, arguments, passed_over in program.tasks:
                recipe = self._note(slot, self._operations[number], inputs, arguments)
                recipe.passed_over = passed_over
                self._pool.add(recipe)
            keeps: list[tuple[int, _Keep]] = [(slot, self._tell) for slot in program.wanted]
            keeps += [
                (slot, functools.partial(self._send_on, peer)) for slot, peer in program.exports
            ]
            promises = [(self._pool.start(self._results[slot]), slot, keep) for slot, keep in keeps]
            for slot in program.dropped:
                self._results.pop(slot, None)  # it may be of an earlier era
        # Without the lock: to send may take until the other actor has taken what it was sent.
        for promise, slot, keep in promises:
            promise.add_done_callback(functools.partial(self._keep, keep, era, slot))

    def cancel(self, era: int) -> None:
        """Forget everything of earlier eras than ``era``; what runs now ends by itself."""
        with self._lock:
            if era > self._era:
                self._era = era
                self._pool.cancel()
                self._results.clear()
                self._awaited.clear()
                self._early.clear()

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Return how many operations were computed, and of these, passed over at first."""
        return self._pool.operations_run, self._pool.passed_over_run

    def peak_memory_bytes(self) -> int:
        """Return the most memory that this process has had resident."""
        return peak_resident_bytes()

    def num_results(self) -> int:
        """Return how many results are kept for programs to come."""
        return len(self._results)

    def news(self) -> Iterator[bytes]:
        """Yield pickled (era, slot, result, error) of what the driver wants to see, for ever."""
        while True:
            yield self._news.get()

    def _note(
        self, slot: int, operation: Operation, inputs: list[int], arguments: tuple[int, ...]
    ) -> Recipe:
        given = tuple(self._results[each] for each in inputs)
        recipe = Recipe(operation, given, arguments, slot.to_bytes(8, "big"), 0, 0)
        self._results[slot] = recipe
        return recipe

    def _expect(self, slot: int) -> None:
        recipe = self._note(slot, Arrival(), [], ())
        if slot in self._early:
            recipe.settle(self._early.pop(slot))
        else:
            self._awaited[slot] = recipe
            self._pool.expect(recipe)

    def _keep(self, keep: _Keep, era: int, slot: int, promise: Future[Any]) -> None:
        """Pass a result on, or tell the driver why there is none."""
        if promise.cancelled():
            return
        error = promise.exception()
        if error is None:
            keep(era, slot, promise.result())
        else:
            self._tell(era, slot, None, error)

    def _tell(self, era: int, slot: int, result: Any, error: BaseException | None = None) -> None:
        try:
            # The driver may have no GPU. What a user's own script defines can't be imported
            # there, so it travels whole.
            told = cloudpickle.dumps((era, slot, error, moved(result, "cpu")))
        except Exception as why:  # noqa: BLE001 - whoever waits must hear something
            what = f"{error!r}" if error else type(result).__name__
            unsent = RuntimeError(f"{what} can't be sent to the driver: {why}")
            told = cloudpickle.dumps((era, slot, unsent, None))
        self._news.put(told)

    def _send_on(self, peer: int, era: int, slot: int, result: Any) -> None:
        try:
            self._wires.send(peer, (era, slot, result))
        except OSError:
            pass  # the driver hears that the other actor has ended
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            self._tell(era, slot, None, error)

    def _take(self, era: int, slot: int, result: Any) -> None:
        """Take a result of another actor."""
        with self._lock:
            if era < self._era:
                return
            self.cancel(era)
            if (recipe := self._awaited.pop(slot, None)) is not None:
                self._pool.arrive(recipe, result)
            else:
                self._early[slot] = result
