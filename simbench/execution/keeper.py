"""Resume is the memo: a run goes on from a moment whose tensors were kept.

The clock plane is replayed, which is cheap; losses are known by their keys; where one isn't, what
it rests on is looked up here before it is computed.
"""

import hashlib
import time
import warnings
from collections.abc import Iterable

from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.execution.values import PENDING, Recipe


class Keeper:
    """Keeps what one strategy and seed rests on, from time to time, and finds it again."""

    def __init__(self, executor: Executor, memo: Memo, owner: bytes, label: str) -> None:
        """Keep moments of ``owner``, each in the place of the one before, in ``memo``.

        ``label`` says for people whose they are.
        """
        self._executor = executor
        self._moments = memo.moments
        self._owner = hashlib.sha256(owner).digest()
        self._label = label
        self._keep_every_s = memo.keep_every_s
        self._kept = memo.moments.keys() if memo.moments else set()
        self._last_s = time.monotonic()
        self._has_news = False

    def recall(self, recipe: Recipe) -> None:
        """Settle what ``recipe`` rests on where it was kept; the rest has to be computed."""
        if self._moments is None or not self._kept:
            return
        stack, seen = [recipe], set()
        while stack:
            each = stack.pop()
            if each.result is not PENDING or each.key in seen:
                continue
            seen.add(each.key)
            found = self._moments.recall(each.key) if each.key in self._kept else None
            if found is None:
                stack.extend(each.given)
            else:
                each.settle(found)
        # All else that it held would stay in memory.
        self._moments.let_go()

    def note_computed(self) -> None:
        """Note that a loss had to be computed: what is known needs no moment."""
        self._has_news = True

    def keep_if_due(self, live: Iterable[Recipe]) -> None:
        """Keep ``live``, all that a run rests on at a moment, if the last time is long ago."""
        if time.monotonic() - self._last_s > self._keep_every_s:
            self.keep(live)

    def keep(self, live: Iterable[Recipe]) -> None:
        """Keep ``live``, unless nothing was computed since the last time."""
        if not self._has_news or self._moments is None:
            return
        promises = {recipe.key: self._executor.start(recipe) for recipe in live}
        if not promises:
            return  # the run hasn't begun
        results = {key: promise.result() for key, promise in promises.items()}
        try:
            self._moments.keep(self._owner, self._label, results)
        except (OSError, RuntimeError) as error:  # torch tells some of what a disk says as such
            warnings.warn(f"{self._label} can't be kept to go on from: {error}", stacklevel=2)
        self._last_s = time.monotonic()
        self._has_news = False
