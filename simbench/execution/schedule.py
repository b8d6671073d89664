"""Which pending operation goes next: the order that both executors share.

Tasks are numbered as they are asked for, inputs first (``values.in_order``), and of those that are
ready the lowest number goes first. Work for an earlier evaluation so precedes that for a later
one, and what frees memory soonest precedes what needs more. A lane is whatever computes one thing
at a time: the threads of a pool share lane 0, each Ray actor has its own.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from simbench.execution.values import PENDING, Recipe, in_order


class Task:
    """A recipe that somebody waits for, with the number of inputs that it still lacks."""

    __slots__ = (
        "begun",
        "dependents",
        "future",
        "lane",
        "number",
        "recipe",
        "taken",
        "unbegun",
        "waiting_for",
    )

    def __init__(self, recipe: Recipe, number: int, lane: int) -> None:
        self.recipe = recipe
        self.number = number
        self.lane = lane
        self.waiting_for = 0
        self.unbegun = 0
        """Those among the inputs that nobody has begun to compute."""
        self.begun = self.taken = False
        self.dependents: list[Task] = []
        self.future: Future[Any] | None = None

    def __lt__(self, other: "Task") -> bool:
        return self.number < other.number


class Schedule:
    """The tasks that are wanted and not done. Not thread-safe: its owner holds a lock."""

    def __init__(self, num_lanes: int, lane_of: Callable[[Recipe], int]) -> None:
        self.ready: list[list[Task]] = [[] for _ in range(num_lanes)]
        self._next_ready: list[list[Task]] = [[] for _ in range(num_lanes)]
        self.operations_run: Counter[str] = Counter()
        self.passed_over_run: Counter[str] = Counter()
        self._lane_of = lane_of
        self._tasks: dict[bytes, Task] = {}
        self._numbers = itertools.count()

    def want(self, recipe: Recipe) -> Future[Any]:
        """Add what ``recipe`` still needs; the future gets its result."""
        if recipe.result is not PENDING:
            future: Future[Any] = Future()
            future.set_result(recipe.result)
            return future
        for each in in_order([recipe], lambda r: r.result is PENDING and r.key not in self._tasks):
            task = Task(each, next(self._numbers), self._lane_of(each))
            self._tasks[each.key] = task
            for key in {r.key for r in each.inputs if r.result is PENDING}:
                given = self._tasks[key]
                if not (given.begun and given.lane == task.lane):
                    given.dependents.append(task)
                    task.waiting_for += 1
                    task.unbegun += not given.begun
            self._queue(task)
        task = self._tasks[recipe.key]
        task.future = task.future or Future()
        return task.future

    def take(self, lane: int) -> Task | None:
        """Return the next ready task of ``lane``, or None."""
        if not self.ready[lane]:
            return None
        task = heapq.heappop(self.ready[lane])
        task.taken = True
        ahead = self._next_ready[lane]
        while ahead and ahead[0].taken:  # they became ready in the ordinary way
            heapq.heappop(ahead)
        return task

    def take_ahead(self, lane: int) -> Task | None:
        """Return the next task of ``lane`` whose inputs have all been begun, here or elsewhere."""
        while self._next_ready[lane]:
            task = heapq.heappop(self._next_ready[lane])
            if not task.taken:
                task.taken = True
                return task
        return None

    def begin(self, task: Task) -> None:
        """Release the tasks of the same lane that wait for ``task``.

        For lanes that work in order: they may be given those before ``task`` is done. Tasks of
        other lanes may be taken ahead once all that they wait for has been begun.
        """
        task.begun = True
        here = [dependent for dependent in task.dependents if dependent.lane == task.lane]
        elsewhere = [each for each in task.dependents if each.lane != task.lane]
        task.dependents = elsewhere
        for dependent in here:
            dependent.waiting_for -= 1
        for dependent in [*here, *elsewhere]:
            dependent.unbegun -= 1
            self._queue(dependent)

    def finish(self, task: Task, result: Any) -> None:
        """Settle ``task`` and release the tasks that still wait for it."""
        task.recipe.settle(result)
        name = task.recipe.operation.name
        self.operations_run[name] += 1
        if task.recipe.passed_over:
            self.passed_over_run[name] += 1
        if self._tasks.get(task.recipe.key) is not task:
            return  # cancelled while it ran; another run may want the same key by now
        del self._tasks[task.recipe.key]
        for dependent in task.dependents:
            dependent.waiting_for -= 1
            self._queue(dependent)

    def _queue(self, task: Task) -> None:
        """Put ``task`` where it may be taken, if it may."""
        if task.taken:
            return
        if not task.waiting_for:
            heapq.heappush(self.ready[task.lane], task)
        elif not task.unbegun:
            heapq.heappush(self._next_ready[task.lane], task)

    def clear(self) -> list[Future[Any]]:
        """Forget every task; return the futures that were promised and not kept."""
        promised = [task.future for task in self._tasks.values() if task.future]
        self._tasks.clear()
        for queue in [*self.ready, *self._next_ready]:
            queue.clear()
        return promised
