"""Which pending operation goes next.

Tasks are numbered as they are asked for, inputs first (``values.in_order``), and of those that are
ready the lowest number goes first. Work for an earlier evaluation so precedes that for a later
one, and what frees memory soonest precedes what needs more.
"""

import heapq
import itertools
from collections import Counter
from concurrent.futures import Future
from typing import Any

from simbench.execution.values import PENDING, Recipe, in_order


class Task:
    """A recipe that somebody waits for, with the number of inputs that it still lacks."""

    __slots__ = ("dependents", "future", "number", "recipe", "waiting_for")

    def __init__(self, recipe: Recipe, number: int) -> None:
        self.recipe = recipe
        self.number = number
        self.waiting_for = 0
        self.dependents: list[Task] = []
        self.future: Future[Any] | None = None

    def __lt__(self, other: "Task") -> bool:
        return self.number < other.number


class Schedule:
    """The tasks that are wanted and not done. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self.operations_run: Counter[str] = Counter()
        self.passed_over_run: Counter[str] = Counter()
        self._ready: list[Task] = []
        self._tasks: dict[bytes, Task] = {}
        self._numbers = itertools.count()

    @property
    def num_ready(self) -> int:
        """How many tasks may be taken."""
        return len(self._ready)

    def want(self, recipe: Recipe) -> Future[Any]:
        """Add what ``recipe`` still needs; the future gets its result."""
        if recipe.result is not PENDING:
            future: Future[Any] = Future()
            future.set_result(recipe.result)
            return future
        self.add(recipe)
        task = self._tasks[recipe.key]
        task.future = task.future or Future()
        return task.future

    def add(self, recipe: Recipe) -> None:
        """Add ``recipe``, if it is pending, and what it still needs."""
        for each in in_order([recipe], lambda r: r.result is PENDING and r.key not in self._tasks):
            task = self.expect(each)
            for key in {r.key for r in each.inputs if r.result is PENDING}:
                self._tasks[key].dependents.append(task)
                task.waiting_for += 1
            if not task.waiting_for:
                heapq.heappush(self._ready, task)

    def expect(self, recipe: Recipe) -> Task:
        """Note a recipe that nobody may take: its result will come from elsewhere."""
        task = self._tasks[recipe.key] = Task(recipe, next(self._numbers))
        return task

    def take(self) -> Task | None:
        """Return the next ready task, or None."""
        return heapq.heappop(self._ready) if self._ready else None

    def finish(self, task: Task, result: Any) -> None:
        """Settle ``task``, which was computed, and release the tasks that wait for it."""
        name = task.recipe.operation.name
        self.operations_run[name] += 1
        if task.recipe.passed_over:
            self.passed_over_run[name] += 1
        self._settle(task, result)

    def arrive(self, recipe: Recipe, result: Any) -> Future[Any] | None:
        """Settle an expected ``recipe`` with what came; return the future to be kept, if any."""
        task = self._tasks.get(recipe.key)
        if task is None:  # all was cleared in between
            recipe.settle(result)
            return None
        self._settle(task, result)
        return task.future

    def is_wanted(self, task: Task) -> bool:
        """Whether ``task`` still counts: it was taken, and nothing has been cleared since."""
        return self._tasks.get(task.recipe.key) is task

    def clear(self) -> list[Future[Any]]:
        """Forget every task; return the futures that were promised and not kept."""
        promised = [task.future for task in self._tasks.values() if task.future]
        self._tasks.clear()
        self._ready.clear()
        return promised

    def _settle(self, task: Task, result: Any) -> None:
        task.recipe.settle(result)
        if not self.is_wanted(task):
            return  # cancelled while it ran; another run may want the same key by now
        del self._tasks[task.recipe.key]
        for dependent in task.dependents:
            dependent.waiting_for -= 1
            if not dependent.waiting_for:
                heapq.heappush(self._ready, dependent)
