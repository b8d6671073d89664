"""The gradient of a model that several devices have in parts, as recipes: one for each pass.

What is asked for is the mathematics of every schedule: each micro-batch goes forward and backward
through all parts, and gradients are summed up. Which of them does it when is the clock's business.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from simbench.execution.values import Effort, Graph, Recipe
from simbench.learning.operations import Bench, Item
from simbench.learning.operations_split import (
    PartBackward,
    PartForward,
    Split,
    TakePart,
)
from simbench.learning.split_costs import link_costs

Mix = Callable[[Sequence[Recipe], Sequence[float] | None, int], Recipe]
"""(vectors, weights or None for the mean, home) -> their sum."""


class Partition(NamedTuple):
    """How a node's devices split a model and a batch."""

    stages: int
    chunks: int
    """Pieces of the model; chunk c lies on stage c mod ``stages``."""
    tensor: int
    """Devices that share each layer."""
    replicas: int
    """Groups of all of those; each has an equal share of the micro-batches."""
    microbatches: int


@dataclass(frozen=True)
class JoinParts:
    """The gradient (n,) whose entries are sums of those of all parts, link by link.

    Node ``rank`` and ``step`` only say which: it stands for all that ``SplitGradient`` makes.
    """

    split: Split
    num_parameters: int
    # What a device alone computes is counted by this name.
    name = "gradient"
    effort: ClassVar[Effort] = "light"

    @functools.cached_property
    def identity(self) -> str:
        """What the result depends on beside the parameters, rank and step."""
        return self.split.identify(self)

    def __call__(self, *given: Any) -> Tensor:
        """Return the sum, given the gradients (k,) of all parts, the rank and the step."""
        *gradients, _rank, _step = given
        whole: Tensor = gradients[0].new_zeros(self.num_parameters)
        places = [each for parts in self.split.places for each in parts]
        for where, gradient in zip(places, gradients, strict=True):
            whole.index_add_(0, where.to(whole.device), gradient)
        return whole


class SplitGradient:
    """Makes the recipes of one strategy and seed. Nothing is computed here."""

    def __init__(self, graph: Graph, bench: Bench, partition: Partition, mix: Mix) -> None:
        self._graph = graph
        self._partition = partition
        self._mix = mix
        task = bench.task
        split = Split(bench, partition.chunks, partition.tensor, partition.microbatches)
        self._costs = link_costs(task, partition.chunks, partition.tensor)
        self._num_workers = bench.num_shards
        self._entry_bytes = task.torch_dtype.itemsize
        self._vector_bytes, self._num_entries = task.vector_bytes, task.num_parameters
        self._microbatch_size = task.samples_per_step // partition.microbatches
        self._take, self._forward = TakePart(split), PartForward(split)
        self._backward = PartBackward(split)
        self._join = JoinParts(split, task.num_parameters)
        self._items = Item(0), Item(1)

    def gradient(self, parameters: Recipe, rank: int, step: int) -> Recipe:
        """Return the gradient of node ``rank``'s batch number ``step``."""
        return self._graph.unfolding(
            self._join,
            (parameters,),
            (rank, step),
            functools.partial(self._gradients, parameters, rank, step),
            num_bytes=self._vector_bytes,
            home=rank,
            num_entries=self._num_entries,
        )

    def _gradients(self, parameters: Recipe, rank: int, step: int) -> list[Recipe]:
        """Return the gradients of all parts, link by link: the means over micro-batches."""
        found: dict[tuple[int, int], list[Recipe]] = {}
        for micro in range(self._partition.microbatches):
            entering = self._entering(parameters, rank, step, micro)
            slope: tuple[Recipe, ...] = ()
            for link in reversed(range(len(self._costs))):
                of_inputs = []
                for k in range(len(self._costs[link].part_entries)):
                    both = self._graph.recipe(
                        self._backward,
                        (self._own(parameters, rank, micro, link, k), *entering[link], *slope),
                        (rank, step, micro, link, k),
                        home=self._home(rank, micro, link, k),
                    )
                    found.setdefault((link, k), []).append(self._item(0, both, link, k))
                    if link:
                        of_inputs.append(self._item(1, both, link, k))
                slope = (self._sum(of_inputs),) if of_inputs else ()
        return [
            self._mix(found[link, k], None, found[link, k][0].home)
            for link, cost in enumerate(self._costs)
            for k in range(len(cost.part_entries))
        ]

    def loss(self, parameters: Recipe, rank: int, step: int) -> Recipe:
        """Return the loss of node ``rank``'s batch number ``step``, one number."""
        last = len(self._costs) - 1
        losses = []
        for micro in range(self._partition.microbatches):
            entering = self._entering(parameters, rank, step, micro)
            losses.append(self._passed(parameters, entering[last], rank, step, micro, last))
        return self._mix(losses, None, losses[0].home)

    def _entering(
        self, parameters: Recipe, rank: int, step: int, micro: int
    ) -> list[tuple[Recipe, ...]]:
        """Return what goes into each link in a forward pass: nothing into the first."""
        entering: list[tuple[Recipe, ...]] = [()]
        for link in range(len(self._costs) - 1):
            entering.append((self._passed(parameters, entering[-1], rank, step, micro, link),))
        return entering

    def _passed(
        self,
        parameters: Recipe,
        entering: tuple[Recipe, ...],
        rank: int,
        step: int,
        micro: int,
        link: int,
    ) -> Recipe:
        """Return what ``link`` gives: the sum of its parts."""
        cost = self._costs[link]
        num_bytes = self._microbatch_size * cost.sample_bytes or self._entry_bytes
        return self._sum(
            [
                self._graph.recipe(
                    self._forward,
                    (self._own(parameters, rank, micro, link, k), *entering),
                    (rank, step, micro, link, k),
                    num_bytes=num_bytes,
                    home=self._home(rank, micro, link, k),
                )
                for k in range(len(cost.part_entries))
            ]
        )

    def _own(self, parameters: Recipe, rank: int, micro: int, link: int, k: int) -> Recipe:
        return self._graph.recipe(
            self._take,
            (parameters,),
            (link, k),
            num_bytes=self._costs[link].part_entries[k] * self._entry_bytes,
            home=self._home(rank, micro, link, k),
        )

    def _item(self, index: int, both: Recipe, link: int, k: int) -> Recipe:
        if index:
            size = self._microbatch_size * self._costs[link - 1].sample_bytes
        else:
            size = self._costs[link].part_entries[k] * self._entry_bytes
        return self._graph.recipe(self._items[index], (both,), num_bytes=size, home=both.home)

    def _sum(self, terms: Sequence[Recipe]) -> Recipe:
        return self._mix(terms, [1.0] * len(terms), terms[0].home) if terms[1:] else terms[0]

    def _home(self, rank: int, micro: int, link: int, k: int) -> int:
        """Return the device of that pass; of device 0, it is the node itself."""
        partition = self._partition
        replica = micro * partition.replicas // partition.microbatches
        stage = self._costs[link].chunk % partition.stages
        device = (replica * partition.stages + stage) * partition.tensor + k
        return device * self._num_workers + rank
