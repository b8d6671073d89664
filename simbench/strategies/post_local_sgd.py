"""Post-local SGD: all-reduce at every step at first, train alone later."""

import itertools
from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy


class PostLocalSGD(CompressingStrategy):
    """Average the parameters after every step up to ``switch``, every ``period`` steps after it.

    With theta_i worker i's parameters, after step t

        theta_i <- 1/N sum_j theta_j    if t <= switch, or if ``period`` divides t - switch

    so until the switch it is minibatch SGD by averaging, and from there on local SGD.

    Source:
        Lin, Stich, Patel, Jaggi, "Don't Use Large Mini-Batches, Use Local SGD", ICLR 2020,
        arXiv:1808.07217, section 3 (post-local SGD). There the switch is where the learning rate
        falls for the first time.
    """

    kind: Literal["post_local_sgd"] = "post_local_sgd"
    switch: NonNegativeInt = 32
    """t', the last step after which all average in any case."""
    period: PositiveInt = 16
    """H, the local steps from one all-reduce to the next after the switch."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Step; average at every step until the switch, and seldom after it."""
        done, state = node.resume(0, node.initial_state())
        exchange, shared = self.exchange(node), state.parameters
        for step in itertools.count(done + 1):
            gradient = yield node.compute_gradient(state.parameters)
            state = node.step(state, gradient)
            if step <= self.switch or (step - self.switch) % self.period == 0:
                shared = yield from exchange.all_reduce(state.parameters, since=shared)
                state = state.with_parameters(shared)
            node.publish(state.parameters, progress=step)
            yield from node.keep(step, state)
