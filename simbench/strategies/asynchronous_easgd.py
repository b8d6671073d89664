"""Elastic averaging, asynchronous: each worker and the server's centre pull at each other."""

import itertools
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy, ServerPlace


class AsynchronousEASGD(CompressingStrategy):
    """Every ``period`` of its steps, a worker's x and the server's centre c move to each other.

    With alpha the moving rate and lr the learning rate, at a step that ``period`` divides

        x <- x - lr g(x) - alpha (x - c)
        c <- c + alpha (x - c)

    where every right-hand side is from before; other steps are local. The worker sends x, waits for
    c as it was when x arrived, and goes on; nobody waits for another worker. Equal workers in
    lock-step take turns: the paper's round-robin. An update is one exchange, behind which are
    ``period`` local steps. Staleness counts the exchanges of others since the worker's last one.
    With a ``compression`` it sends how far x is from the last c that it was sent.

    With a ``momentum`` delta, a step looks ahead, as Nesterov's does (EAMSGD). lr is the rate of
    plain SGD, which the task's optimiser should then be; another one's step stands for -lr g:

        v <- delta v - lr g(x + delta v)
        x <- x + v - alpha (x - c)

    Source:
        Zhang, Choromanska, LeCun, "Deep Learning with Elastic Averaging SGD", NeurIPS 2015,
        arXiv:1412.6651, algorithms 1 (asynchronous EASGD) and 2 (EAMSGD); its alpha is lr rho.
    """

    kind: Literal["asynchronous_easgd"] = "asynchronous_easgd"
    period: PositiveInt = 4
    """Local steps of a worker from one exchange to the next."""
    moving_rate: PositiveFloat | None = None
    """alpha; by default 0.9 / N."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """delta; 0 is elastic averaging without momentum."""
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""

    counts: ClassVar[Literal["steps", "updates"]] = "updates"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    def work(self, node: Node) -> Steps:
        """Step; every ``period`` steps, exchange x for the centre and move towards it."""
        alpha = self._alpha(node)
        state, exchange = node.initial_state(), self.exchange(node)
        read = state.parameters
        velocity, ahead = None, (1.0, self.momentum)
        for step in itertools.count():
            x = pulled = state.parameters
            # Before the first step nothing would move: all stand at the centre.
            if step and step % self.period == 0:
                node.send(node.server, (yield from exchange.encode(x, since=read)), tag="push")
                read = (yield node.receive("model")).body
                pulled = node.mix(x, read, weights=(1 - alpha, alpha))
            gradient = yield node.compute_gradient(
                node.mix(x, velocity, weights=ahead) if velocity else x
            )
            state = node.step(state.with_parameters(pulled), gradient)
            if velocity:
                state = state.with_parameters(node.mix(state.parameters, velocity, weights=ahead))
            if self.momentum:
                velocity = node.subtract(state.parameters, pulled)

    def serve(self, node: Node) -> Steps:
        """Answer each x with the centre, then move that towards x."""
        alpha = self._alpha(node)
        update, centre = node.resume(0, node.initial_state().parameters)
        exchange = self.exchange(node)
        last = dict.fromkeys(node.workers, update)
        # Where it is compressed, what comes is how far a worker is from what it was sent.
        sent = dict.fromkeys(node.workers, centre if self.compression else None)
        while True:
            push = yield node.receive(("push", "join"))
            node.send(push.sender, centre, tag="model")
            before = sent[push.sender]
            sent[push.sender] = centre if self.compression else None
            if push.tag == "join":
                last[push.sender] = update
                continue
            x = exchange.concluded(exchange.decode(push.body), before)
            centre = node.mix(centre, x, weights=(1 - alpha, alpha))
            staleness = update - last[push.sender]
            update += 1
            last[push.sender] = update
            node.publish(
                centre,
                update,
                contributor=push.sender,
                staleness=staleness,
                batches=self.period,
            )
            yield from node.keep(update, centre)

    def _alpha(self, node: Node) -> float:
        return self.moving_rate or 0.9 / len(node.workers)
