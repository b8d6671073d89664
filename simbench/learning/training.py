"""The operations of one run, asked for as recipes: what the words of a node turn into."""

import functools
from collections.abc import Sequence
from typing import Any

from simbench.execution.operation import PureOperation
from simbench.execution.values import Graph, Operation, Recipe
from simbench.learning.compressor import Layout
from simbench.learning.fault import Fault, FaultyNodes
from simbench.learning.operations import (
    Bench,
    EvaluatePart,
    Evaluation,
    FreshState,
    Gradient,
    Initial,
    Item,
    Loss,
    Mix,
    Step,
)
from simbench.learning.operations_gradient import TransformGradient
from simbench.learning.operations_step import Forget
from simbench.learning.optimizer import Optimizer
from simbench.learning.pieces import Pieces, Sum, Whole
from simbench.learning.split_gradient import Partition, SplitGradient


@functools.lru_cache(maxsize=1024)
def _mix(*weights: float) -> Mix:
    """Return the operation, one for all who ask: what identifies it is worked out once."""
    return Mix(weights)


class Training:
    """Makes the recipes of one strategy and seed. Nothing is computed here."""

    def __init__(
        self,
        graph: Graph,
        bench: Bench,
        optimizer: Optimizer,
        faults: Sequence[Fault] = (),
        partition: Partition | None = None,
    ) -> None:
        """Make those of ``bench``; where there is a ``partition``, gradients are split so."""
        self.graph = graph
        self.charge = bench.task.charge
        self.layout = Layout(bench.task.shapes, bench.task.torch_dtype, bench.seed)
        self._num_workers = bench.num_shards
        self._initial = Initial(bench)
        self._fresh_state = FreshState()
        self._gradient = Gradient(bench)
        self._transform = TransformGradient(bench) if bench.task.gradient else None
        self._forget = Forget()
        self._faulty = FaultyNodes(graph, faults, bench.seed)
        self._loss = Loss(bench)
        self._split = SplitGradient(graph, bench, partition, self.mix) if partition else None
        self._bench = bench
        self._optimizer = optimizer
        self._steps: dict[Optimizer, Step] = {}
        self.steps_on_wholes = not optimizer.is_entrywise
        """Whether the task's optimiser can't step on pieces of a gradient one by one."""
        self._part = EvaluatePart(bench)
        self._evaluation = Evaluation(bench)
        self._items = (Item(0), Item(1))
        self._add = _mix(1.0, 1.0)
        self._pieces = Pieces(graph, self.charge)

    def initial(self, home: int) -> tuple[Recipe, Recipe]:
        """Return the first parameters and the optimiser's state before any step."""
        return self._vector(self._initial, (), (), home), self.fresh_state(home)

    def gradient(self, parameters: Recipe, rank: int, step: int) -> Recipe:
        """Return the gradient of node ``rank``'s batch number ``step``, as it comes out."""
        if self._split is not None:
            return self._split.gradient(parameters, rank, step)
        return self._vector(self._gradient, (parameters,), (rank, step), rank)

    def shard_samples(self, rank: int) -> int:
        """Return how many samples node ``rank`` has of its own."""
        return self._bench.shard_samples(rank)

    def loss(self, parameters: Recipe, rank: int, step: int) -> Recipe:
        """Return the loss of node ``rank``'s batch number ``step``, one number."""
        if self._split is not None:
            return self._split.loss(parameters, rank, step)
        num_bytes = self.layout.dtype.itemsize
        return self.apply(self._loss, (parameters,), (rank, step), num_bytes, rank)

    def transformed(
        self, gradient: Recipe, parameters: Recipe, memory: Recipe | None, rank: int, step: int
    ) -> tuple[Recipe, Recipe | None]:
        """Return what ``task.gradient`` makes of a node's gradient, and what it then remembers.

        That is None where nothing is remembered, and so is ``memory`` before the first one. A
        faulty node says something else in the end.
        """
        if self._transform is None:
            return self._faulty.distort(gradient, rank, step), None
        before = self.fresh_state(rank) if memory is None else memory
        both = self.graph.recipe(
            self._transform, (gradient, parameters, before), (rank, step), home=rank
        )
        after = None
        if any(each.state_vectors for each in self._bench.task.gradient):
            after = self.graph.recipe(self._items[1], (both,), home=rank)
        transformed = self._vector(self._items[0], (both,), (), rank)
        return self._faulty.distort(transformed, rank, step), after

    def fresh_state(self, home: int, after: Recipe | None = None) -> Recipe:
        """Return the state of any optimiser before its first step.

        After another state, the task's schedule goes on from there.
        """
        if after is not None and self._optimizer.schedule:
            return self.graph.recipe(self._forget, (after,), home=home)
        return self.graph.recipe(self._fresh_state, home=home)

    def step(
        self,
        parameters: Recipe,
        state: Recipe,
        gradient: Recipe,
        home: int,
        optimizer: Optimizer | None = None,
    ) -> tuple[Recipe, Recipe]:
        """Return the parameters and the optimiser's state after one step, by default the task's."""
        if found := self._step_of_wholes(parameters, state, gradient, home, optimizer):
            return found
        chosen = optimizer or self._optimizer
        if chosen not in self._steps:
            self._steps[chosen] = Step(self._bench, chosen)
        both = self.graph.recipe(self._steps[chosen], (parameters, state, gradient), home=home)
        return (
            self._like(parameters, self._items[0], (both,), home),
            self.graph.recipe(
                self._items[1],
                (both,),
                num_bytes=chosen.state_vectors * parameters.num_bytes,
                home=home,
            ),
        )

    def _step_of_wholes(
        self,
        parameters: Recipe,
        state: Recipe,
        gradient: Recipe,
        home: int,
        optimizer: Optimizer | None,
    ) -> tuple[Recipe, Recipe] | None:
        """Return the pieces of the step on the wholes, if all inputs are pieces of those."""
        # Most steps are on wholes, and this is on the clock's path.
        if self._pieces.places((parameters, gradient)) is None:
            return None
        # Nothing remembered is a piece of nothing remembered.
        is_fresh = state is self.fresh_state(home)
        pieces = (parameters, gradient) if is_fresh else (parameters, gradient, state)
        places = self._pieces.places(pieces)
        if places is None or not (optimizer or self._optimizer).is_entrywise:
            return None
        wholes = [self._whole(place.whole, home) for place in places]
        stepped, kept = self.step(
            wholes[0], state if is_fresh else wholes[2], wholes[1], home, optimizer
        )
        ends = places[0][1:]
        return (
            self._pieces.piece(stepped, *ends, home),
            self._pieces.piece_of_state(kept, *ends, home),
        )

    def mix(self, vectors: Sequence[Recipe], weights: Sequence[float] | None, home: int) -> Recipe:
        """Return sum(weights * vectors), or their mean if ``weights`` is None.

        A sum is a balanced binary tree over the given order, the same everywhere: float addition
        isn't associative. The mean of equal Values is that Value.
        """
        num_bytes = vectors[0].num_bytes
        assert all(each.num_bytes == num_bytes for each in vectors), "vectors of unequal lengths"
        total = self._mixed(vectors, weights, home)
        self._pieces.note_sum(total, vectors, weights)
        return total

    def cut(self, vector: Recipe, piece_bytes: int, home: int) -> list[Recipe]:
        """Return the pieces of ``vector``, of ``piece_bytes`` at most, in its order."""
        return self._pieces.cut(vector, piece_bytes, home)

    def split(self, vector: Recipe, num_pieces: int, home: int) -> list[Recipe]:
        """Return ``num_pieces`` pieces of ``vector``, as equal as can be, in its order."""
        return self._pieces.split(vector, num_pieces, home)

    def source(self, recipe: Recipe) -> Recipe:
        """Return the vector or the state that ``recipe`` was cut from, or itself."""
        return self._pieces.source(recipe)

    def paste(self, pieces: Sequence[Recipe], home: int) -> Recipe:
        """Return ``pieces`` as one vector; all pieces of a vector, in its order, are itself."""
        if len(pieces) == 1:
            return pieces[0]
        whole = self._pieces.whole(pieces)
        return self._pieces.paste(pieces, home) if whole is None else self._whole(whole, home)

    def evaluation(self, parameters: Recipe) -> Recipe:
        """Return the loss on held-out data; its parts are computed side by side, all over."""
        num_parts = self._part.num_parts
        parts = [
            self.graph.recipe(
                self._part, (parameters,), (part,), home=part * self._num_workers // num_parts
            )
            for part in range(num_parts)
        ]
        return self.graph.recipe(self._evaluation, (parameters, *parts), home=parameters.home)

    def apply(
        self,
        operation: Operation,
        inputs: Sequence[Recipe],
        arguments: tuple[int, ...],
        num_bytes: int | None,
        home: int,
        num_entries: int | None = None,
    ) -> Recipe:
        """Return what ``operation`` makes of ``inputs``, by default as long as the first.

        It is a vector of ``num_entries``, or something else of ``num_bytes``.
        """
        entrywise = isinstance(operation, PureOperation) and operation.is_entrywise
        if entrywise and (places := self._pieces.places(inputs)):
            wholes = [self._whole(place.whole, home) for place in places]
            result = self.apply(operation, wholes, arguments, None, home)
            return self._pieces.piece(result, *places[0][1:], home)
        if num_entries is not None:
            num_bytes = self.charge.between(0, num_entries)
        elif num_bytes is None:
            num_bytes, num_entries = inputs[0].num_bytes, inputs[0].num_entries
        return self.graph.recipe(
            operation,
            inputs,
            arguments,
            num_bytes=num_bytes,
            home=home,
            num_entries=num_entries or 0,
        )

    def apply_to_several(
        self,
        operation: Operation,
        inputs: Sequence[Recipe],
        arguments: tuple[int, ...],
        sizes: Sequence[int],
        home: int,
    ) -> list[Recipe]:
        """Return each of the results of ``operation``, which have ``sizes`` bytes."""
        together = self.graph.recipe(operation, inputs, arguments, home=home)
        return [
            self.graph.recipe(Item(index), (together,), num_bytes=size, home=home)
            for index, size in enumerate(sizes)
        ]

    def _whole(self, whole: Whole, home: int) -> Recipe:
        if not isinstance(whole, Sum):
            return whole
        if whole.recipe is None:
            terms = [self._whole(term, home) for term in whole.terms]
            whole.recipe = self.mix(terms, whole.weights, home)
        return whole.recipe

    def _mixed(
        self, vectors: Sequence[Recipe], weights: Sequence[float] | None, home: int
    ) -> Recipe:
        if weights is None:
            if all(vector is vectors[0] for vector in vectors):
                return vectors[0]
            total = self._sum(vectors)
            return self._like(total, _mix(1 / len(vectors)), (total,), home)
        if len(vectors) == 2:
            return self._like(vectors[0], _mix(*weights), vectors, home)
        scaled = [
            vector if weight == 1 else self._like(vector, _mix(weight), (vector,), vector.home)
            for vector, weight in zip(vectors, weights, strict=True)
        ]
        return self._sum(scaled)

    def _sum(self, vectors: Sequence[Recipe]) -> Recipe:
        if len(vectors) == 1:
            return vectors[0]
        middle = (len(vectors) + 1) // 2
        left, right = self._sum(vectors[:middle]), self._sum(vectors[middle:])
        return self._like(left, self._add, (left, right), left.home)

    def _like(self, model: Recipe, operation: Any, inputs: Sequence[Recipe], home: int) -> Recipe:
        return self.graph.recipe(
            operation, inputs, num_bytes=model.num_bytes, home=home, num_entries=model.num_entries
        )

    def _vector(
        self, operation: Any, inputs: tuple[Recipe, ...], arguments: tuple[int, ...], home: int
    ) -> Recipe:
        length = self.layout.length
        num_bytes = self.charge.between(0, length)
        return self.graph.recipe(
            operation, inputs, arguments, num_bytes=num_bytes, home=home, num_entries=length
        )
