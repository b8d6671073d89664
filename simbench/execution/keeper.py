"""Resume is the memo: a run goes on from a moment whose tensors were kept.

The clock plane is replayed, which is cheap; losses are known by their keys; where one isn't, what
it rests on is looked up here before it is computed.
"""

import hashlib
import time
from collections.abc import Iterable

from simbench.execution.executor import Executor
from simbench.execution.memo import Memo
from simbench.execution.values import PENDING, Recipe

KEEP_EVERY_S = 60.0
"""Real time between two moments that are kept."""


class Keeper:
    """Keeps what one strategy and seed rests on, from time to time, and finds it again."""

    def __init__(
        self, executor: Executor, memo: Memo, owner: bytes, keep_every_s: float = KEEP_EVERY_S
    ) -> None:
        """Keep moments of ``owner``, each in the place of the one before, in ``memo``."""
        self._executor = executor
        self._memo = memo
        self._owner = hashlib.sha256(owner).digest()
        self._keep_every_s = keep_every_s
        self._kept = memo.kept_keys()
        self._last_s = time.monotonic()
        self._has_news = False

    def recall(self, recipe: Recipe) -> None:
        """Settle what ``recipe`` rests on where it was kept; the rest has to be computed."""
        if not self._kept:
            return
        stack, seen = [recipe], set()
        while stack:
            each = stack.pop()
            if each.result is not PENDING or each.key in seen:
                continue
            seen.add(each.key)
            found = self._memo.recall(each.key) if each.key in self._kept else None
            if found is None:
                stack.extend(each.given)
            else:
                each.settle(found)

    def note_computed(self) -> None:
        """Note that a loss had to be computed: what is known needs no moment."""
        self._has_news = True

    def keep_if_due(self, live: Iterable[Recipe]) -> None:
        """Keep ``live``, all that a run rests on at a moment, if the last time is long ago."""
        if time.monotonic() - self._last_s > self._keep_every_s:
            self.keep(live)

    def keep(self, live: Iterable[Recipe]) -> None:
        """Keep ``live``, unless nothing was computed since the last time."""
        if not self._has_news or not self._memo.keeps_moments:
            return
        promises = {recipe.key: self._executor.start(recipe) for recipe in live}
        if not promises:
            return  # the run hasn't begun
        results = {key: promise.result() for key, promise in promises.items()}
        self._memo.keep_moment(self._owner, results)
        self._last_s = time.monotonic()
        self._has_news = False
