"""Vectors in pieces: fragments of a model, buckets of a gradient.

Sums go entry by entry, so what is added up piece by piece and pasted is the sum of the wholes, bit
for bit. It is therefore the same Value: another size of pieces trains nothing again, and nothing
is really cut where all pieces come together again. Other work that goes entry by entry, such as an
optimiser's step, is done on the wholes if its inputs are the same piece of several.
"""

import itertools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from simbench.execution.values import Graph, Recipe
from simbench.learning.operations import Cut, CutState, Paste
from simbench.learning.pricing import Charge


@dataclass
class Sum:
    """What a sum of pieces is a piece of: the sum of the wholes, as ``Training.mix`` makes it."""

    weights: tuple[float, ...] | None
    terms: tuple["Whole", ...]
    recipe: Recipe | None = field(default=None, compare=False)
    """Once somebody has asked for it: many nodes paste the same mean."""

    @property
    def depth(self) -> int:
        """How many sums lie in each other."""
        return 1 + max(term.depth if isinstance(term, Sum) else 0 for term in self.terms)


Whole = Recipe | Sum


class Place(NamedTuple):
    """Where a piece comes from."""

    whole: Whole
    begin: int
    end: int
    """Entries ``begin`` to ``end`` of it."""


class Pieces:
    """Cuts and pastes the vectors of one run, of which ``charge`` tells the bytes."""

    def __init__(self, graph: Graph, charge: Charge) -> None:
        self._graph = graph
        self._charge = charge
        self._cut, self._cut_state, self._paste = Cut(), CutState(), Paste()
        # A recipe that is computed forgets its inputs, and no key may depend on when that was.
        self._places: weakref.WeakKeyDictionary[Recipe, Place] = weakref.WeakKeyDictionary()
        self._last_sum: Callable[[], Sum | None] = lambda: None

    def cut(self, vector: Recipe, piece_bytes: int, home: int) -> list[Recipe]:
        """Return the pieces of ``vector`` from its beginning to its end.

        A piece has as many entries as fit into ``piece_bytes``, and one if none fits. The first
        has what is left over.
        """
        assert vector.num_entries, f"{vector.operation.name} makes no vector"
        size = max(1, self._charge.entries_within(piece_bytes))
        length = vector.num_entries
        if size >= length:
            return [vector]
        edges = [0, *range(length % size or size, length + 1, size)]
        return [self.piece(vector, *ends, home) for ends in itertools.pairwise(edges)]

    def split(self, vector: Recipe, num_pieces: int, home: int) -> list[Recipe]:
        """Return ``num_pieces`` pieces of ``vector``, as equal as can be, in its order."""
        if num_pieces == 1:
            return [vector]
        assert vector.num_entries, f"{vector.operation.name} makes no vector"
        length = vector.num_entries
        edges = [length * index // num_pieces for index in range(num_pieces + 1)]
        return [self.piece(vector, *ends, home) for ends in itertools.pairwise(edges)]

    def places(self, pieces: Sequence[Recipe]) -> list[Place] | None:
        """Return where ``pieces`` come from, if they are the same piece of several wholes."""
        places = [place for piece in pieces if (place := self._places.get(piece))]
        same = len(places) == len(pieces) and len({place[1:] for place in places}) == 1
        return places if same else None

    def source(self, recipe: Recipe) -> Recipe:
        """Return what ``recipe`` was cut from, or itself; pieces of one vector rest on that one."""
        place = self._places.get(recipe)
        return place.whole if place and isinstance(place.whole, Recipe) else recipe

    def paste(self, pieces: Sequence[Recipe], home: int) -> Recipe:
        """Return the recipe of ``pieces``, one behind the other."""
        return self._graph.recipe(
            self._paste,
            pieces,
            num_bytes=sum(piece.num_bytes for piece in pieces),
            num_entries=sum(piece.num_entries for piece in pieces),
            home=home,
        )

    def whole(self, pieces: Sequence[Recipe]) -> Whole | None:
        """Return what ``pieces`` are all pieces of, in their order; None if there is none."""
        whole, at = None, 0
        for piece in pieces:
            place = self._places.get(piece)
            if place is None or place.begin != at:
                return None
            if whole is not None and place.whole is not whole and place.whole != whole:
                return None
            whole, at = place.whole, place.end
        return whole if whole is None or at == _num_entries(whole) else None

    def note_sum(
        self, total: Recipe, terms: Sequence[Recipe], weights: Sequence[float] | None
    ) -> None:
        """Remember what ``total`` is a piece of, if ``terms`` are the same piece of several."""
        if total in self._places or terms[0] not in self._places:
            return
        # How x + w * y is rounded depends on where in a vector an entry stands, unless w is 1.
        if weights is not None and len(weights) == 2 and abs(weights[1]) != 1:
            return
        places = [place for term in terms if (place := self._places.get(term))]
        first = places[0]
        if len(places) == len(terms) and all(place[1:] == first[1:] for place in places):
            kept = None if weights is None else tuple(weights)
            whole = Sum(kept, tuple(place.whole for place in places))
            if whole.depth > _DEEPEST:
                return
            last = self._last_sum()
            # The buckets of a mean share it: then telling that they belong together costs nothing.
            if last == whole:
                whole = last
            self._last_sum = weakref.ref(whole)
            self._places[total] = first._replace(whole=whole)

    def piece(self, vector: Recipe, begin: int, end: int, home: int) -> Recipe:
        """Return entries ``begin`` to ``end`` of ``vector``."""
        piece = self._graph.recipe(
            self._cut,
            (vector,),
            (begin, end),
            num_bytes=self._charge.between(begin, end),
            num_entries=end - begin,
            home=home,
        )
        self._places[piece] = Place(vector, begin, end)
        return piece

    def piece_of_state(self, state: Recipe, begin: int, end: int, home: int) -> Recipe:
        """Return what an optimiser remembers of entries ``begin`` to ``end``."""
        piece = self._graph.recipe(self._cut_state, (state,), (begin, end), home=home)
        self._places[piece] = Place(state, begin, end)
        return piece


def _num_entries(whole: Whole) -> int:
    while isinstance(whole, Sum):
        whole = whole.terms[0]
    return whole.num_entries


_DEEPEST = 3
"""A server that adds for ever, each time to what it has, would remember all that it ever added."""
