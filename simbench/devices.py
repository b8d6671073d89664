"""The devices of a node, where both planes meet: what a step of theirs costs, and who has what."""

import functools
from collections.abc import Sequence

from simbench.cluster.cluster import Cluster
from simbench.learning.priced_split import priced_costs
from simbench.learning.split_costs import LinkCost, link_costs
from simbench.learning.split_gradient import Partition
from simbench.learning.task import Task
from simbench.parallel.group import Chunk, Group
from simbench.parallel.parallel import Parallel
from simbench.spec import misfit


def partition_of(parallel: Parallel) -> Partition:
    """Return how ``parallel`` splits a gradient."""
    return Partition(
        stages=parallel.num_stages,
        chunks=parallel.num_chunks,
        tensor=parallel.tensor,
        replicas=parallel.num_replicas,
        microbatches=parallel.num_microbatches,
    )


@functools.lru_cache(maxsize=16)
def group_of(parallel: Parallel, task: Task) -> Group:
    """Return the devices of a node that trains ``task``, or is charged for the larger model of it.

    Raises:
        ValidationError: the model or the batch can't be split so; made by ``spec.misfit``, with the
            key of ``parallel``.
    """
    count, size = parallel.num_microbatches, task.samples_per_step
    if size % count:
        of_pipeline = parallel.pipeline is not None
        raise misfit(
            ("pipeline", "microbatches") if of_pipeline else ("sharding", "devices"),
            f"a batch of {size} samples can't be {count} equal micro-batches",
        )
    costs_of = link_costs if task.priced_as is None else priced_costs
    costs = costs_of(task, parallel.num_chunks, parallel.tensor)
    charge = task.charge
    chunks = [
        _chunk(
            [cost for cost in costs if cost.chunk == index],
            parallel.tensor,
            charge.parameter_bytes,
        )
        for index in range(parallel.num_chunks)
    ]
    # What the first and the last part both have is one thing where they are on one device. Those
    # that share the vocabulary have a part of it each.
    held = sum(sum(cost.part_entries) for cost in costs_of(task, parallel.num_chunks, 1))
    tied = -(-(held - charge.num_parameters) // parallel.tensor)
    tied_bytes = tied * charge.parameter_bytes
    if parallel.num_stages == 1:
        only = chunks[0]
        chunks = [only._replace(parameter_bytes=only.parameter_bytes - tied_bytes)]
    return Group(parallel, chunks, size, tied_bytes)


def _chunk(costs: Sequence[LinkCost], tensor: int, entry_bytes: int) -> Chunk:
    """Return the costs of a chunk; what isn't split, each of its devices has and does."""
    entries = [
        sum(cost.part_entries[k if len(cost.part_entries) > 1 else 0] for cost in costs)
        for k in range(tensor)
    ]
    layers = [cost for cost in costs if not cost.of_vocabulary]
    vocabulary = [cost for cost in costs if cost.of_vocabulary]
    return Chunk(
        share=sum(cost.share for cost in costs),
        sums=sum(len(cost.part_entries) > 1 for cost in layers),
        activation_bytes=max(cost.sample_bytes for cost in layers),
        parameter_bytes=max(entries) * entry_bytes,
        forward_vocabulary=tuple(size for cost in vocabulary for size in cost.forward_sums),
        backward_vocabulary=tuple(size for cost in vocabulary for size in cost.backward_sums),
    )


class StepTimes:
    """How long the gradients of one run take: of a machine alone, or of a group of such."""

    def __init__(self, cluster: Cluster, task: Task, seed: int, group: Group | None) -> None:
        """Price steps of ``task`` on the nodes of ``cluster``, each of which is a ``group``."""
        self._cluster = cluster
        self._flops = task.step_flops
        self._overlap = task.overlap
        self._seed = seed
        self._group = group

    def of(self, rank: int, step: int) -> int:
        """Return the time of gradient number ``step`` of node ``rank``, in ns."""
        return self._together(rank, self._cluster.step_ns(self._flops, self._seed, rank, step))

    def usual(self, rank: int) -> int:
        """Return what a gradient of node ``rank`` takes as a rule, in ns."""
        return self._together(rank, self._cluster.usual_step_ns(self._flops, self._seed, rank))

    def backward_share(self, rank: int) -> float:
        """Return the last share of a step of node ``rank``, in which the gradient comes out.

        Where several micro-batches make it, no part of it is whole before the end.
        """
        if self._group is not None and self._group.adds_up:
            return 0.0
        return self._cluster.machine_of(rank).backward_share * self._overlap

    def _together(self, rank: int, whole_ns: int) -> int:
        """Return the time of what one device alone would need ``whole_ns`` for."""
        if self._group is None:
            return whole_ns
        return self._group.step(whole_ns, self._cluster.machine_of(rank).backward_share).end_ns


def group_facts(group: Group, cluster: Cluster, task: Task) -> dict[str, int | float]:
    """Return what one step of a node's devices costs, on ``cluster.machine`` without jitter."""
    machine = cluster.machine
    alone_ns = max(1, round(machine.step_ns(task.step_flops)))
    step = group.step(alone_ns, machine.backward_share)
    return {
        "devices": group.num_devices,
        "step_ns": step.end_ns,
        "alone_ns": alone_ns,
        "bubble_share": step.table.bubble_share,
        **{f"{name}_bytes": size for name, size in group.traffic._asdict().items()},
    }
