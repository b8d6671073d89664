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

    __slots__ = ("dependents", "future", "lane", "number", "recipe", "waiting_for")

    def __init__(self, recipe: Recipe, number: int, lane: int) -> None:
        self.recipe = recipe
        self.number = number
        self.lane = lane
        self.waiting_for = 0
        self.dependents: list[Task] = []
        self.future: Future[Any] | None = None

    def __lt__(self, other: "Task") -> bool:
        return self.number < other.number


class Schedule:
    """The tasks that are wanted and not done. Not thread-safe: its owner holds a lock."""

    def __init__(self, num_lanes: int, lane_of: Callable[[Recipe], int]) -> None:
        self.ready: list[list[Task]] = [[] for _ in range(num_lanes)]
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
            for key in {given.key for given in each.inputs if given.result is PENDING}:
                self._tasks[key].dependents.append(task)
                task.waiting_for += 1
            if not task.waiting_for:
                heapq.heappush(self.ready[task.lane], task)
        task = self._tasks[recipe.key]
        task.future = task.future or Future()
        return task.future

    def dependents(self, recipe: Recipe) -> list[Task]:
        """Return the tasks that wait for ``recipe``."""
        return self._tasks[recipe.key].dependents

    def take(self, lane: int) -> Task | None:
        """Return the next ready task of ``lane``, or None."""
        return heapq.heappop(self.ready[lane]) if self.ready[lane] else None

    def finish(self, task: Task, result: Any) -> list[Task]:
        """Settle ``task``; return the tasks that became ready by it, which are queued now."""
        task.recipe.settle(result)
        name = task.recipe.operation.name
        self.operations_run[name] += 1
        if task.recipe.passed_over:
            self.passed_over_run[name] += 1
        if self._tasks.pop(task.recipe.key, None) is None:
            return []  # cancelled while it ran
        freed = []
        for dependent in task.dependents:
            dependent.waiting_for -= 1
            if not dependent.waiting_for:
                heapq.heappush(self.ready[dependent.lane], dependent)
                freed.append(dependent)
        return freed

    def clear(self) -> list[Future[Any]]:
        """Forget every task; return the futures that were promised and not kept."""
        promised = [task.future for task in self._tasks.values() if task.future]
        self._tasks.clear()
        for queue in self.ready:
            queue.clear()
        return promised
