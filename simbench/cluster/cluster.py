"""The cluster: how many nodes, what machines, who is slow."""

import functools
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from simbench.cluster.jitter import Jitter
from simbench.cluster.machine import Machine
from simbench.cluster.machines.flops import Flops
from simbench.cluster.straggler import Straggler
from simbench.spec import OneOf, Spec, misfit

_MEASURED_STEPS = 16
"""Gradients that tell how long one usually takes."""


class Others(Spec):
    """Workers that are another machine."""

    nodes: tuple[NonNegativeInt, ...] = Field(min_length=1)
    """Their ranks, counted from 0."""
    machine: Annotated[Machine, OneOf("simbench.cluster.machines")] = Flops()
    """What each of them is."""


class Cluster(Spec):
    """The worker nodes; a server on its own machine is one more."""

    nodes: PositiveInt = 8
    """Number of workers."""
    machine: Annotated[Machine, OneOf("simbench.cluster.machines")] = Flops()
    """What each of them is, and a server's own machine."""
    others: tuple[Others, ...] = ()
    """Workers that are something else."""
    stragglers: tuple[
        Annotated[Straggler, OneOf("simbench.cluster.stragglers", default="persistent")], ...
    ] = ()
    """Who is slow, and when; where several slow a step down, their factors multiply."""

    @model_validator(mode="after")
    def _nodes_exist(self) -> "Cluster":
        for key in ("others", "stragglers"):
            for index, part in enumerate(getattr(self, key)):
                for rank in part.nodes or ():
                    if rank >= self.nodes:
                        raise misfit(
                            (key, index, "nodes"),
                            f"node {rank} doesn't exist: {self.nodes} nodes have the ranks "
                            f"0 to {self.nodes - 1}",
                        )
        return self

    @model_validator(mode="after")
    def _each_is_one_machine(self) -> "Cluster":
        seen: set[int] = set()
        for index, others in enumerate(self.others):
            for rank in others.nodes:
                if rank in seen:
                    raise misfit(("others", index, "nodes"), f"node {rank} is named twice")
                seen.add(rank)
        return self

    def machine_of(self, rank: int) -> Machine:
        """Return what node ``rank`` is; those beyond the workers are servers' own machines."""
        for others in self.others:
            if rank in others.nodes:
                return others.machine
        return self.machine

    def machines(self, num_nodes: int) -> Iterator[tuple[tuple[str | int, ...], Machine]]:
        """Yield each machine that one of ``num_nodes`` nodes is, and the keys where it stands."""
        if sum(len(others.nodes) for others in self.others) < num_nodes:
            yield ("machine",), self.machine
        for index, others in enumerate(self.others):
            yield ("others", index, "machine"), others.machine

    def slowdown(self, seed: int, rank: int, step: int) -> float:
        """Return the product of what the stragglers' list says of this step."""
        product = 1.0
        for place, straggler in enumerate(self.stragglers):
            product *= straggler.factor(seed, f"stragglers.{place}", rank, step, self.nodes)
        return product

    def mean_step_ns(self, flops: int) -> list[float]:
        """Return the mean time of each worker's first 100 steps, without jitter, in ns.

        Raises:
            ValueError: a machine can't tell it from the FLOPs.
        """
        return [
            self.machine_of(rank).step_ns(flops)
            * sum(self.slowdown(0, rank, step) for step in range(100))
            / 100
            for rank in range(self.nodes)
        ]

    def step_ns(self, flops: int, seed: int, rank: int, step: int) -> int:
        """Return the time of gradient number ``step`` of node ``rank``: at least 1 ns."""
        machine = self.machine_of(rank)
        factor = _factor(machine.jitter, seed, rank, step)
        return max(1, round(machine.step_ns(flops) * self.slowdown(seed, rank, step) * factor))

    def usual_step_ns(self, flops: int, seed: int, rank: int) -> int:
        """Return the mean time of the first gradients of node ``rank``: what was measured before.

        So a strategy that needs to know who is slow knows what its operator would.
        """
        times_ns = [self.step_ns(flops, seed, rank, step) for step in range(_MEASURED_STEPS)]
        return round(sum(times_ns) / _MEASURED_STEPS)


@functools.lru_cache(maxsize=1 << 18)
def _factor(jitter: Jitter, seed: int, rank: int, step: int) -> float:
    """Return the draw, which every strategy meets again, and on every network."""
    return jitter.factor(seed, rank, step)
