"""The executor in this process: operations side by side in threads, each on one core or stream."""

import functools
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch

from simbench.execution.devices import Stream
from simbench.execution.identity import fingerprint
from simbench.execution.schedule import Schedule, Task
from simbench.execution.spent import overwrites, spent
from simbench.execution.values import Recipe


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ThreadExecutor:
    """A pool of threads, each of which computes one single-threaded operation at a time."""

    def __init__(
        self, num_threads: int | None = None, device: str = "cpu", *, is_sole_owner: bool = False
    ) -> None:
        """Start ``num_threads``, by default as many as there are cores.

        On a GPU each has a stream of its own, so that what they start there goes on side by side.
        Where ``is_sole_owner``, recipes can be reached by references only, not looked up by keys.
        """
        self.device = device
        self._schedule = Schedule()
        self._changed = threading.Condition()
        self._closed = False
        self._is_sole_owner = is_sole_owner
        self._threads = [
            threading.Thread(
                target=self._work, args=(Stream(device),), name=f"simbench-{index}", daemon=True
            )
            for index in range(num_threads or num_cores())
        ]
        for thread in self._threads:
            thread.start()

    @property
    def fingerprint(self) -> dict[str, str]:
        """What the bits of a result depend on, here."""
        return fingerprint(self.device)

    @property
    def description(self) -> str:
        """One line for people."""
        return f"{len(self._threads)} threads of this process on {self.device}"

    @property
    def width(self) -> int:
        """How many operations are computed side by side."""
        return len(self._threads)

    @property
    def operations_run(self) -> Counter[str]:
        """How many operations of each name were computed."""
        with self._changed:
            return self._schedule.operations_run.copy()

    @property
    def passed_over_run(self) -> Counter[str]:
        """How many of them had been passed over at first."""
        with self._changed:
            return self._schedule.passed_over_run.copy()

    @property
    def peak_memory_bytes(self) -> list[int]:
        """There is no process beside this one."""
        return []

    @property
    def calls_run(self) -> Counter[str]:
        """Each operation is a call of its own."""
        return self.operations_run

    def start(self, recipe: Recipe) -> Future[Any]:
        """Queue ``recipe`` and what it needs."""
        with self._changed:
            future = self._schedule.want(recipe)
            self._changed.notify_all()
        return future

    def add(self, recipe: Recipe) -> None:
        """Queue ``recipe`` and what it needs, though nobody waits for it yet."""
        with self._changed:
            self._schedule.add(recipe)
            self._changed.notify(self._schedule.num_ready)

    def expect(self, recipe: Recipe) -> None:
        """Have what needs ``recipe`` wait until its result arrives from elsewhere."""
        with self._changed:
            self._schedule.expect(recipe)

    def arrive(self, recipe: Recipe, result: Any) -> None:
        """Take the result of an expected recipe."""
        with self._changed:
            future = self._schedule.arrive(recipe, result)
            self._changed.notify(self._schedule.num_ready)
        if future is not None:
            future.set_result(result)

    def cancel(self) -> None:
        """Forget what is queued; operations that run now end by themselves."""
        with self._changed:
            for future in self._schedule.clear():
                future.cancel()

    def close(self) -> None:
        """End the threads."""
        self.cancel()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, stream: Stream) -> None:
        # Bits depend on both; such a setting belongs to the thread that makes it.
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        with stream.ours():
            while (task := self._next()) is not None:
                self._compute(task, stream)
                # A vector that this frame still named would outlive its last reader.
                task = None

    def _next(self) -> Task | None:
        """Wait for a task that may begin; None once the pool is closed."""
        with self._changed:
            while not self._closed:
                if (task := self._schedule.take()) is not None:
                    return task
                self._changed.wait()
        return None

    def _compute(self, task: Task, stream: Stream) -> None:
        try:
            operation = task.recipe.operation
            compute: Callable[..., Any] = operation
            if self._is_sole_owner and overwrites(operation):
                compute = functools.partial(operation.overwrite, spent(task.recipe))
            inputs = [each.result for each in task.recipe.inputs]
            result = compute(*inputs, *task.recipe.arguments)
            stream.finish()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
            self._fail(task, error)
            return
        del inputs
        with self._changed:
            self._schedule.finish(task, result)
            self._changed.notify(self._schedule.num_ready)
        if task.future is not None and not task.future.cancelled():
            task.future.set_result(result)

    def _fail(self, task: Task, error: BaseException) -> None:
        with self._changed:
            broken = self._schedule.clear() if self._schedule.is_wanted(task) else []
        for future in broken:
            future.set_exception(error)
