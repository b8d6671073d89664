"""DiLoCo: train alone for long, then let an outer optimiser step on how far all have come."""

import itertools
from typing import ClassVar, Literal

from pydantic import PositiveInt

from simbench.learning.optimizers.sgd import SGD
from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy, OptimizerChoice


class DiLoCo(CompressingStrategy):
    """Every ``period`` steps, the outer optimiser steps on the mean of what all have moved.

    From the shared theta, worker i takes ``period`` steps of the task's optimiser, the inner one,
    on its own data and arrives at theta_i. Then, with the outer gradient Delta,

        Delta <- 1/N sum_i (theta - theta_i)
        theta <- OuterOptimizer(theta, Delta)

    and all go on from theta. The inner optimiser's memory stays with its worker across rounds. The
    outer step is the same on every worker, so each takes it for itself and nothing but theta_i is
    sent, in one all-reduce. An ``outer`` of learning rate 1 without momentum is local SGD.

    Source:
        Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models", 2023,
        arXiv:2311.08105, algorithm 1. There the inner optimiser is AdamW, H = 500, and the outer
        one is SGD with Nesterov momentum, learning rate 0.7, momentum 0.9.
    """

    kind: Literal["diloco"] = "diloco"
    period: PositiveInt = 16
    """H, the inner steps of a round. The paper's is 500: a small study has fewer steps in all."""
    outer: OptimizerChoice = SGD(learning_rate=0.7, momentum=0.9, nesterov=True)
    """The outer optimiser, with a learning rate of its own."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Train alone; every ``period`` steps, take an outer step with the others."""
        state, exchange = node.initial_state(), self.exchange(node)
        shared = node.fresh_state(state.parameters)
        done, state, shared = node.resume(0, state, shared)
        for step in itertools.count(done + 1):
            gradient = yield node.compute_gradient(state.parameters)
            state = node.step(state, gradient)
            if step % self.period == 0:
                mean = yield from exchange.all_reduce(state.parameters, since=shared.parameters)
                outer_gradient = node.subtract(shared.parameters, mean)
                shared = node.step(shared, outer_gradient, self.outer)
                state = state.with_parameters(shared.parameters)
            node.publish(state.parameters, progress=step)
            yield from node.keep(step, state, shared)
