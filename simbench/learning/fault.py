"""What a fault is: nodes that pass off something else as their gradient.

The clock sees nothing of it: a faulty node is as fast as any. Faults depend on what the node
computed, on seeds, ranks and steps, never on the strategy: every strategy meets the same ones.
"""

from abc import ABC
from collections import deque
from collections.abc import Sequence

from pydantic import Field, NonNegativeInt

from simbench.execution.values import Graph, Operation, Recipe, Value
from simbench.spec import Spec


class Fault(Spec, ABC):
    """A choice of what is wrong; its fields are the YAML keys."""

    kind: str
    nodes: tuple[NonNegativeInt, ...] = Field(default=(0,), min_length=1)
    """Who is faulty: ranks of workers, counted from 0."""

    @property
    def age(self) -> int:
        """How many of its steps ago the node computed what it passes off; 0 is now."""
        return 0

    def operation(self, seed: int) -> Operation | None:
        """Return what makes it wrong, called with a gradient (n,), rank and step; None leaves it.

        Args:
            seed: of all that is drawn.
        """
        return None


class FaultyNodes:
    """What faulty nodes pass off as their gradients, and the earlier ones that they keep for it."""

    def __init__(self, graph: Graph, faults: Sequence[Fault], seed: int) -> None:
        self._graph = graph
        self._faults = [(fault, fault.operation(seed)) for fault in faults]
        self._kept: dict[tuple[int, int], deque[Value]] = {}

    def distort(self, gradient: Recipe, rank: int, step: int) -> Recipe:
        """Return what node ``rank`` passes off as its ``gradient`` number ``step``.

        Where several faults name it, each works on what the one before it made.
        """
        for number, (fault, operation) in enumerate(self._faults):
            if rank not in fault.nodes:
                continue
            if fault.age:
                kept = self._kept.setdefault((number, rank), deque(maxlen=fault.age + 1))
                # By a handle, so that it counts among what the run rests on.
                kept.append(self._graph.hold(gradient, rank))
                gradient = kept[0].recipe
            if operation is not None:
                gradient = self._graph.recipe(
                    operation,
                    (gradient,),
                    (rank, step),
                    num_bytes=gradient.num_bytes,
                    num_entries=gradient.num_entries,
                    home=rank,
                )
        return gradient
