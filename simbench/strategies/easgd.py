"""Elastic averaging, synchronous: replicas and a centre pull at each other."""

import itertools
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy


class EASGD(CompressingStrategy):
    """Every ``period`` steps, a spring pulls each replica x_i to the centre c, and c to them.

    With alpha the moving rate, lr the learning rate and N workers, at a step that ``period``
    divides

        x_i <- x_i - lr g_i(x_i) - alpha (x_i - c)
        c   <- (1 - beta) c + beta 1/N sum_i x_i,    beta = N alpha

    where every right-hand side is from before the step; other steps are local. All workers keep the
    same c, so one all-reduce of x_i is all that is sent, or of x_i - c with a ``compression``. What
    is evaluated is c.

    With a ``momentum`` delta, a step looks ahead, as Nesterov's does (EAMSGD). lr is the rate of
    plain SGD, which the task's optimiser should then be; another one's step stands for -lr g:

        v_i <- delta v_i - lr g_i(x_i + delta v_i)
        x_i <- x_i + v_i - alpha (x_i - c)

    Source:
        Zhang, Choromanska, LeCun, "Deep Learning with Elastic Averaging SGD", NeurIPS 2015,
        arXiv:1412.6651, the synchronous form and, for momentum, algorithm 2; its alpha is lr rho.
    """

    kind: Literal["easgd"] = "easgd"
    period: PositiveInt = 4
    """Local steps from one pull to the next."""
    moving_rate: PositiveFloat | None = None
    """alpha; by default 0.9 / N."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """delta; 0 is elastic averaging without momentum."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Step; every ``period`` steps, pull at the centre and be pulled."""
        alpha = self.moving_rate or 0.9 / len(node.workers)
        state = node.initial_state()
        done, state, centre, velocity, sent = node.resume(0, state, state.parameters, None, ())
        exchange = self.exchange(node, sent)
        ahead = (1.0, self.momentum)
        for step in itertools.count(done):
            x = pulled = state.parameters
            # Before the first step nothing would move: all stand at the centre.
            if step and step % self.period == 0:
                mean = yield from exchange.all_reduce(x, since=centre)
                pulled = node.mix(x, centre, weights=(1 - alpha, alpha))
                beta = alpha * len(node.members)
                centre = node.mix(centre, mean, weights=(1 - beta, beta))
            gradient = yield node.compute_gradient(
                node.mix(x, velocity, weights=ahead) if velocity else x
            )
            state = node.step(state.with_parameters(pulled), gradient)
            if velocity:
                state = state.with_parameters(node.mix(state.parameters, velocity, weights=ahead))
            if self.momentum:
                velocity = node.subtract(state.parameters, pulled)
            node.publish(centre, progress=step + 1)
            yield from node.keep(step + 1, state, centre, velocity, exchange.memory)
