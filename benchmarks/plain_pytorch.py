"""The same training in bare PyTorch: what simbench's executors are measured against.

A ``Course`` is what one strategy really computes with one seed, in order: gradients at given ranks
and steps, an optimiser step after each, an evaluation now and then. ``repeat`` does as much with
nothing but torch: a model and an optimiser per worker, as any program that simulates workers has
them, and no Values, no keys, no clock. It never averages, so its losses differ; the gradients,
steps and evaluations are as many.
"""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from simbench.learning.task import Task
from simbench.seeds import generator


@dataclass(frozen=True)
class Course:
    """How much of everything to do."""

    task: Task
    num_workers: int
    gradients: int
    evaluations: int
    learning_rate: float

    def share(self, index: int, count: int) -> "Course":
        """Return what process ``index`` of ``count`` does."""
        parts = [range(total)[index::count] for total in (self.gradients, self.evaluations)]
        return Course(self.task, self.num_workers, len(parts[0]), len(parts[1]), self.learning_rate)


def repeat(course: Course, num_threads: int) -> float:
    """Do ``course`` in one loop with ``num_threads`` threads; return the seconds that it took."""
    torch.set_num_threads(num_threads)
    do = prepare(course)
    begun_s = time.perf_counter()
    do()
    return time.perf_counter() - begun_s


def prepare(course: Course) -> Callable[[], None]:
    """Build what ``course`` needs, warm it up, and return what does it."""
    task = course.task
    torch.manual_seed(0)
    optimizer = task.optimizer.model_copy(update={"learning_rate": course.learning_rate})
    workers = []
    for rank in range(course.num_workers):
        module = task.model.build().to(task.torch_dtype)
        task.model.initialise(module, torch.Generator().manual_seed(0))
        workers.append((module, optimizer.build(module.parameters())))
        _step(course, *workers[-1], rank)
    validation = task.data.validation(course.num_workers, task.model.length)
    every = max(1, course.gradients // max(1, course.evaluations))

    def do() -> None:
        for number in range(course.gradients):
            module, steps = workers[number % course.num_workers]
            _step(course, module, steps, number)
            if number % every == 0 and number // every < course.evaluations:
                with torch.no_grad():
                    for part in validation:
                        float(task.model.loss(module, part))

    return do


def _step(course: Course, module: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    task = course.task
    step, rank = divmod(number, course.num_workers)
    draw = generator(0, "batch", rank, step)
    batch = task.batch(draw, rank, (1,) * course.num_workers)
    optimizer.zero_grad()
    task.model.loss(module, batch).backward()
    optimizer.step()


def repeat_in_processes(course: Course, num_processes: int) -> float:
    """Do ``course`` in single-threaded processes, each its share; return the seconds together."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(num_processes + 1), context.Barrier(num_processes + 1)
    workers = [
        context.Process(target=_take_part, args=(course.share(i, num_processes), ready, done))
        for i in range(num_processes)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    begun_s = time.perf_counter()
    done.wait()
    taken_s = time.perf_counter() - begun_s
    for worker in workers:
        worker.join()
    return taken_s


def _take_part(course: Course, ready, done) -> None:  # noqa: ANN001 - multiprocessing's barriers
    torch.set_num_threads(1)
    do = prepare(course)
    ready.wait()
    do()
    done.wait()
