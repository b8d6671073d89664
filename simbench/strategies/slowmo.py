"""SlowMo: momentum over rounds of training alone."""

import itertools
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from simbench.learning.optimizers.sgd import SGD
from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy


class SlowMo(CompressingStrategy):
    """Every ``period`` steps, average, then go on in the direction of a slow momentum.

    A round starts at x; after tau = ``period`` local steps the mean of all replicas is x_tau. Then

        u <- beta u + (x - x_tau) / lr
        x <- x - alpha lr u

    with u = 0 at first and lr the task's learning rate. Here u is kept times lr, v = lr u, and
    v <- beta v + (x - x_tau), x <- x - alpha v: the same for a learning rate that is constant, and
    it serves optimisers whose steps have another scale. Momentum 0 and alpha 1 is local SGD; with
    ``period`` 1 and plain SGD inside, it is heavy-ball SGD on the batches of all workers.

    Source:
        Wang, Tantia, Ballas, Rabbat, "SlowMo: Improving Communication-Efficient Distributed SGD
        with Slow Momentum", ICLR 2020, arXiv:1910.00643, algorithm 1, equations 2 and 3.
    """

    kind: Literal["slowmo"] = "slowmo"
    period: PositiveInt = 12
    """tau, the local steps of a round."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """beta, the weight of earlier rounds."""
    alpha: PositiveFloat = 1.0
    """The slow learning rate, a factor on the whole step; 1 in the paper's experiments."""
    buffers: Literal["maintain", "reset"] = "maintain"
    """What the local optimiser remembers of earlier rounds: all, or nothing."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Train alone; every ``period`` steps, average and take the slow step."""
        # Its velocity is v, and its step is the slow one.
        slow = SGD(learning_rate=self.alpha, momentum=self.momentum)
        state, exchange = node.initial_state(), self.exchange(node)
        shared = node.fresh_state(state.parameters)
        done, state, shared = node.resume(0, state, shared)
        for step in itertools.count(done + 1):
            gradient = yield node.compute_gradient(state.parameters)
            state = node.step(state, gradient)
            if step % self.period == 0:
                mean = yield from exchange.all_reduce(state.parameters, since=shared.parameters)
                shared = node.step(shared, node.subtract(shared.parameters, mean), slow)
                if self.buffers == "reset":
                    state = node.fresh_state(shared.parameters, after=state)
                else:
                    state = state.with_parameters(shared.parameters)
            node.publish(state.parameters, progress=step)
            yield from node.keep(step, state, shared)
