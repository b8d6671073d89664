"""Hierarchical local SGD: average often within an island, seldom among all."""

import itertools
from typing import ClassVar, Literal

from pydantic import PositiveInt, model_validator

from simbench.node import Node, Steps
from simbench.spec import misfit
from simbench.strategy import CompressingStrategy


class HierarchicalAveraging(CompressingStrategy):
    """Islands average every ``inner_period`` steps, all workers every ``outer_period`` steps.

    With theta_i worker i's parameters and I(i) the workers of its island, after step t

        theta_i <- mean of theta_j over all j     if ``outer_period`` divides t
        theta_i <- mean of theta_j over I(i)      else, if ``inner_period`` divides t

    Islands are ranks in a row: the first ``island``, the next, and what is left over. Equal
    periods, or one island of all, is local SGD.

    Source:
        Lin, Stich, Patel, Jaggi, "Don't Use Large Mini-Batches, Use Local SGD", ICLR 2020,
        arXiv:1808.07217, "hierarchical local SGD": H local steps to an average within a block, H^b
        of these to one among all, so ``inner_period`` H and ``outer_period`` H * H^b.
    """

    kind: Literal["hierarchical_averaging"] = "hierarchical_averaging"
    island: PositiveInt = 2
    """Workers of an island."""
    inner_period: PositiveInt = 2
    """Local steps from one averaging within an island to the next."""
    outer_period: PositiveInt = 8
    """Local steps from one averaging among all to the next; a multiple of ``inner_period``."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @model_validator(mode="after")
    def _rounds_are_whole(self) -> "HierarchicalAveraging":
        if self.outer_period % self.inner_period:
            raise misfit(
                ("outer_period",),
                f"expected a multiple of inner_period, which is {self.inner_period}; "
                f"got {self.outer_period}",
            )
        return self

    @model_validator(mode="after")
    def _island_knows_where_it_began(self) -> "HierarchicalAveraging":
        if self.compression and self.compression.remembers and self.on_failure.goes_on:
            raise misfit(
                ("on_failure",),
                f"with {self.compression.kind}, one can only wait: who joins may hear from another "
                "island, and doesn't know what its own remembers",
            )
        return self

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Train alone, meet the island often and all others seldom."""
        first = node.rank - node.rank % self.island
        island = node.workers[first : first + self.island]
        done, state, memory = node.resume(0, node.initial_state(), ())
        exchange = self.exchange(node, memory)
        # What all have had last, and what the island has.
        shared = among_all = state.parameters
        for step in itertools.count(done + 1):
            gradient = yield node.compute_gradient(state.parameters)
            state = node.step(state, gradient)
            if step % self.outer_period == 0:
                among_all = yield from exchange.all_reduce(state.parameters, since=among_all)
                shared = among_all
                state = state.with_parameters(shared)
            elif step % self.inner_period == 0:
                shared = yield from exchange.all_reduce(
                    state.parameters, since=shared, tag="island", among=island
                )
                state = state.with_parameters(shared)
            node.publish(state.parameters, progress=step)
            if self.compression is None or step % self.outer_period == 0:
                # In between, islands send changes of what other islands haven't had.
                yield from node.keep(step, state, exchange.memory)
