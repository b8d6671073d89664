"""Which actor computes what: nodes have their actors; what is no effort goes where it is needed."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence

from simbench.execution.values import Recipe

_FEW_ACTORS = 4
"""Up to so many, each adds up for itself what comes from several, and waits for nobody to do it."""


class Placement:
    """Actors 0 to ``num_actors`` - 1, each of which stands in for ``nodes_per_actor`` nodes."""

    def __init__(self, num_actors: int, nodes_per_actor: int) -> None:
        self._num_actors = num_actors
        self._nodes_per_actor = nodes_per_actor
        self._load = [0] * num_actors
        """How many heavy operations each actor was given."""
        self._moved: dict[int, int] = {}

    def actor_of(self, node: int) -> int:
        """Return the actor that computes for ``node``."""
        # A server on its own machine has a rank behind the last worker's.
        first = node // self._nodes_per_actor % self._num_actors
        return self._moved.get(node, first)

    def balance(self, order: Sequence[Recipe]) -> None:
        """Move nodes away from actors that were given more than others, ``order`` counted in.

        A straggler asks for less in the same virtual time. Moving a node costs the transfer of
        what it keeps, which is much less than a gradient.
        """
        work = Counter(each.home for each in order if each.operation.effort == "heavy")
        for node, amount in work.items():
            self._load[self.actor_of(node)] += amount
        while True:
            least, most = self._load.index(min(self._load)), self._load.index(max(self._load))
            excess = self._load[most] - self._load[least]
            movable = [n for n in work if self.actor_of(n) == most and work[n] < excess]
            if not movable:
                return
            node = max(movable, key=lambda n: (work[n], n))
            self._moved[node] = least
            self._load[most] -= work[node]
            self._load[least] += work[node]

    def spread(
        self, order: Sequence[Recipe], held_by: Callable[[Recipe], Collection[int]]
    ) -> dict[Recipe, set[int]]:
        """Return the actors that are to compute each recipe of ``order``, inputs first.

        ``held_by`` tells where results lie that aren't in ``order``. What isn't heavy is computed
        by all who need it and have all that it needs; if nobody has, what is light by all who need
        it: that spares a second way.
        """
        everywhere = set(range(self._num_actors))
        where: dict[Recipe, set[int]] = {}
        """Who may compute it; once those who need it are known, who does."""
        anybody = set()
        for each in order:
            effort = each.operation.effort
            where[each] = {self.actor_of(each.home)}
            if effort == "heavy" or self._num_actors > _FEW_ACTORS:
                continue
            places = [set(where.get(given) or held_by(given)) for given in each.inputs]
            able = everywhere.intersection(*places)
            if effort == "light" and not able:
                where[each] = set.union(*places)
                anybody.add(each)
            elif effort == "light" or len(able) > 1:
                where[each] = able
        needed: defaultdict[Recipe, set[int]] = defaultdict(set)
        for each in reversed(order):
            home = {self.actor_of(each.home)}
            if each in anybody:
                where[each] = needed[each] or home
            else:
                able = where[each]
                where[each] = able & needed[each] or able & home or {min(able)}
            for given in each.inputs:
                needed[given] |= where[each]
        return where
