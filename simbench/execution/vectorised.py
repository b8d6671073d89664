"""The executor on one device, a GPU above all: operations of a kind that are ready run as one call.

What runs together decides the last bits. So it follows from what was asked for, in which order,
and from nothing else: the calls are laid down when a recipe is asked for, and nothing is computed
until somebody waits for a result. The same run has the same bits each time.
"""

import functools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, cast

import torch

from simbench.execution.calls import calls
from simbench.execution.device import prepare
from simbench.execution.values import PENDING, Operation, Recipe, in_order

WIDEST = 64
"""Operations of one call at most: their results and what leads to them lie in memory at once."""


class Vectorised(Operation, Protocol):
    """An operation that knows how to do several at once."""

    def alike(self, *inputs: Any) -> Hashable:
        """Return what calls that are done together must have in common; None: it stays alone."""
        ...

    def together(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the results of ``calls``, each the inputs and arguments of one."""
        ...


@functools.cache
def _goes_together(kind: type) -> bool:
    """Whether operations of this class are ``Vectorised``; of each, that would take longer."""
    return hasattr(kind, "alike") and hasattr(kind, "together")


def _kind(recipe: Recipe) -> str | None:
    operation = recipe.operation
    return operation.identity if _goes_together(type(operation)) else None


class VectorisedExecutor:
    """Computes in the thread that waits for a result, as few calls as it can."""

    width = 1
    """One call at a time; a GPU is as wide as the call."""

    def __init__(self, device: str | None = None, *, deterministic: bool = True) -> None:
        """Compute on ``device``, by default the GPU if there is one.

        A processor gives one thread to it, as to any operation, until ``close``.
        """
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        facts = prepare(self.device, deterministic=deterministic)
        self.fingerprint = facts | {"vectorised": f"{WIDEST} operations a call"}
        self.operations_run: Counter[str] = Counter()
        self.passed_over_run: Counter[str] = Counter()
        self.calls_run: Counter[str] = Counter()
        """In how many calls the operations of each name were computed."""
        self._calls: deque[list[Recipe]] = deque()
        self._planned: set[Recipe] = set()
        self._promises: list[_Promise] = []
        self._num_threads = torch.get_num_threads()
        torch.set_num_threads(1)

    @property
    def description(self) -> str:
        """One line for people."""
        return f"{self.device} in this process, up to {WIDEST} operations a call"

    @property
    def peak_memory_bytes(self) -> list[int]:
        """There is no process beside this one."""
        return []

    def start(self, recipe: Recipe) -> Future[Any]:
        """Lay down the calls that ``recipe`` needs; the future makes them when it is asked."""
        promise = _Promise(recipe, self._compute_until)
        if recipe.result is not PENDING:
            promise.set_result(recipe.result)
            return promise
        # What an earlier call computes is there when these are made.
        order = list(in_order([recipe], lambda r: r.result is PENDING and r not in self._planned))
        self._planned.update(order)
        self._calls.extend(calls(order, _kind, WIDEST))
        self._promises.append(promise)
        return promise

    def cancel(self) -> None:
        """Forget what nobody has waited for."""
        promised, self._promises = self._promises, []
        self._calls.clear()
        self._planned.clear()
        for promise in promised:
            promise.cancel()

    def close(self) -> None:
        """Give the threads back."""
        self.cancel()
        torch.set_num_threads(self._num_threads)

    def _compute_until(self, recipe: Recipe) -> None:
        torch.set_flush_denormal(True)
        try:
            while recipe.result is PENDING:
                self._compute(self._calls.popleft())
        except BaseException:
            self.cancel()
            raise
        finally:
            torch.set_flush_denormal(False)
        self._promises = [each for each in self._promises if each.recipe.result is PENDING]

    def _compute(self, call: list[Recipe]) -> None:
        operation = cast("Vectorised", call[0].operation)  # where there is more than one
        parts: defaultdict[Hashable, list[Recipe]] = defaultdict(list)
        if len(call) == 1:
            parts[None] = call
        else:
            for each in call:
                kind = operation.alike(*_given(each))
                parts[each if kind is None else (kind,)].append(each)
        for part in parts.values():
            givens = [_given(each) for each in part]
            several = len(part) > 1
            results = operation.together(givens) if several else [operation(*givens[0])]
            del givens
            self.calls_run[operation.name] += 1
            for each, result in zip(part, results, strict=True):
                each.settle(result)
                self._planned.discard(each)
                self.operations_run[operation.name] += 1
                self.passed_over_run[operation.name] += each.passed_over


def _given(recipe: Recipe) -> tuple[Any, ...]:
    """Return what the operation is called with."""
    return (*(each.result for each in recipe.inputs), *recipe.arguments)


class _Promise(Future[Any]):
    """The result of a recipe, which is computed when somebody asks for it."""

    def __init__(self, recipe: Recipe, compute_until: Callable[[Recipe], None]) -> None:
        super().__init__()
        self.recipe = recipe
        self._compute_until = compute_until

    def result(self, timeout: float | None = None) -> Any:
        """Return the result, after as long as it takes to compute."""
        if not self.done():
            self._compute_until(self.recipe)
            self.set_result(self.recipe.result)
        return super().result(timeout)
