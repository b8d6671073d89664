"""Which operations run as one call: those of one kind that are ready at the same time."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from simbench.execution.values import Recipe


class _Ready:
    """What may be computed: places in an order, which what goes together shares a heap of."""

    def __init__(self) -> None:
        self._alone: list[int] = []
        self._kinds: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._alone or self._kinds)

    def add(self, place: int, kind: str | None) -> None:
        """Add what goes together with others of its ``kind``, or alone."""
        heap = self._alone if kind is None else self._kinds.setdefault(kind, [])
        heapq.heappush(heap, place)

    def take(self, widest: int) -> list[int]:
        """Take the first that goes alone, or else the kind whose first is the first of all."""
        if self._alone:
            return [heapq.heappop(self._alone)]
        kind = min(self._kinds, key=lambda each: self._kinds[each][0])
        heap = self._kinds[kind]
        taken = [heapq.heappop(heap) for _ in range(min(len(heap), widest))]
        if not heap:
            del self._kinds[kind]
        return taken


def calls(
    order: Sequence[Recipe], kind_of: Callable[[Recipe], str | None], widest: int
) -> Iterator[list[Recipe]]:
    """Yield the recipes of ``order``, inputs first, by calls of at most ``widest`` of one kind.

    What goes alone comes as soon as it may, since others may wait for it; only then is a kind
    as full as it can be. Inputs that aren't in ``order`` are taken to be there.
    """
    places = {each: place for place, each in enumerate(order)}
    lacking: list[int] = []
    dependents: defaultdict[int, list[int]] = defaultdict(list)
    ready = _Ready()
    for place, each in enumerate(order):
        inputs = {places[given] for given in each.inputs if given in places}
        lacking.append(len(inputs))
        for given in inputs:
            dependents[given].append(place)
        if not inputs:
            ready.add(place, kind_of(each))
    while ready:
        call = ready.take(widest)
        yield [order[place] for place in call]
        for dependent in [each for place in call for each in dependents[place]]:
            lacking[dependent] -= 1
            if not lacking[dependent]:
                ready.add(dependent, kind_of(order[dependent]))
