"""Averaging among the workers, without a server: all-reduce SGD and local SGD."""

import itertools
from typing import ClassVar, Literal

from pydantic import PositiveInt

from simbench.node import Node, Steps
from simbench.strategy import Strategy


class Averaging(Strategy):
    """All-reduce every ``period`` steps; nothing is sent in between.

    With ``combine: parameters``, workers train alone and then set theta_i <- 1/N sum_j theta_j
    (local SGD; period 1 is synchronous SGD). With ``combine: gradients``, they gather the gradients
    of ``period`` batches at the same parameters and take one step on the mean of all of them.

    Source:
        Stich, "Local SGD Converges Fast and Communicates Little", ICLR 2019, arXiv:1805.09767,
        algorithm 1; Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
        2017, arXiv:1706.02677, section 2.
    """

    kind: Literal["averaging"] = "averaging"
    period: PositiveInt = 1
    """Local steps from one all-reduce to the next."""
    combine: Literal["parameters", "gradients"] = "parameters"
    """What is averaged."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Train alone, meet the others every ``period`` steps."""
        state = node.initial_state()
        gathered = None
        for step in itertools.count(1):
            gradient = yield node.compute_gradient(state.parameters)
            meeting = step % self.period == 0
            if self.combine == "parameters":
                state = node.step(state, gradient)
                if meeting:
                    state = state.with_parameters((yield node.all_reduce(state.parameters)))
            else:
                gathered = gradient if gathered is None else node.add(gathered, gradient)
                if meeting:
                    mean = yield node.all_reduce(gathered)
                    state = node.step(state, node.mix(mean, weights=(1 / self.period,)))
                    gathered = None
            node.publish(state.parameters, progress=step)
