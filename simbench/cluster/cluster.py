"""The cluster: how many nodes, what machines, who is slow."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from simbench.cluster.machine import Machine
from simbench.cluster.machines.flops import Flops
from simbench.seeds import generator
from simbench.spec import OneOf, Spec, misfit


class Straggler(Spec):
    """Nodes that are always slower than the others."""

    nodes: tuple[NonNegativeInt, ...] = Field(min_length=1)
    """Their ranks, counted from 0."""
    slowdown: float = Field(default=2.0, gt=0)
    """Factor on the time of their steps."""


class Cluster(Spec):
    """The worker nodes; a server on its own machine is one more."""

    nodes: PositiveInt = 8
    """Number of workers."""
    machine: Annotated[Machine, OneOf("simbench.cluster.machines")] = Flops()
    """What each of them is."""
    stragglers: tuple[Straggler, ...] = ()
    """Who is persistently slow."""

    @model_validator(mode="after")
    def _stragglers_exist(self) -> "Cluster":
        for index, straggler in enumerate(self.stragglers):
            for rank in straggler.nodes:
                if rank >= self.nodes:
                    raise misfit(
                        ("stragglers", index, "nodes"),
                        f"node {rank} doesn't exist: {self.nodes} nodes have the ranks "
                        f"0 to {self.nodes - 1}",
                    )
        return self

    def slowdown(self, rank: int) -> float:
        """Return the product of what the stragglers' list says of ``rank``."""
        product = 1.0
        for straggler in self.stragglers:
            if rank in straggler.nodes:
                product *= straggler.slowdown
        return product

    def step_ns(self, flops: int, seed: int, rank: int, step: int) -> int:
        """Return the time of gradient number ``step`` of node ``rank``: at least 1 ns."""
        factor = self.machine.jitter.factor(generator(seed, "step time", rank, step))
        return max(1, round(self.machine.step_ns(flops) * self.slowdown(rank) * factor))
