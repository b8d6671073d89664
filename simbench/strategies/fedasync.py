"""Asynchronous federated optimisation: the server moves towards each model that comes back."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from simbench.damping import DampingChoice
from simbench.dampings.polynomial import PolynomialDamping
from simbench.node import Node, Steps
from simbench.spec import misfit
from simbench.strategy import CompressingStrategy, ServerPlace


class FedAsync(CompressingStrategy):
    """The server's x is averaged with each worker's model on arrival, the less the staler it is.

    A worker takes ``period`` local steps from the x that it read, on f(y) + rho/2 |y - x|^2 where
    rho is ``proximal``, and pushes the y where they end. With tau the updates between reading and
    averaging, s the ``damping`` and alpha the ``mixing``,

        alpha_t = alpha s(tau)
        x <- (1 - alpha_t) x + alpha_t y

    and the server returns x at once.

    Source:
        Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", 2019, arXiv:1903.03934,
        algorithm 1 (FedAsync+Const, +Poly and +Hinge, by the damping); s(0) = 1, as the paper wants
        it. Staleness is 0 where nobody came between. By the letter of the algorithm it is 1 there,
        since its t is already the number of the x to come.
    """

    kind: Literal["fedasync"] = "fedasync"
    mixing: float = Field(default=0.6, gt=0, le=1)
    """alpha, the share of a model that isn't stale."""
    damping: DampingChoice = PolynomialDamping()
    """s, how much of that share is left to a stale one."""
    period: PositiveInt = 4
    """Local steps of a worker from one push to the next."""
    proximal: NonNegativeFloat = 0.0
    """rho, the pull towards where the local steps began."""
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""

    counts: ClassVar[Literal["steps", "updates"]] = "updates"
    resumes: ClassVar[bool] = True

    @model_validator(mode="after")
    def _pulls(self) -> "FedAsync":
        if self.proximal and self.period == 1:
            raise misfit(("proximal",), "has no effect with period 1: no step starts off x")
        return self

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    def batches_per_count(self, num_workers: int) -> int:
        """Return the local steps behind a push."""
        return self.period

    def work(self, node: Node) -> Steps:
        """Step from what the server last sent, push the model, wait for the server's answer."""
        state, exchange = node.initial_state(), self.exchange(node)
        while True:
            read = state.parameters
            for _ in range(self.period):
                slope = yield node.compute_gradient(state.parameters)
                if self.proximal:
                    pull = node.subtract(state.parameters, read)
                    slope = node.mix(slope, pull, weights=(1.0, self.proximal))
                state = node.step(state, slope)
            pushed = yield from exchange.encode(state.parameters, since=read)
            node.send(node.server, pushed, tag="push")
            model = yield node.receive("model")
            state = state.with_parameters(model.body)

    def serve(self, node: Node) -> Steps:
        """Average with what arrives, in order of arrival, and answer its sender.

        A worker that joins is answered, too.
        """
        update, parameters = node.resume(0, node.initial_state().parameters)
        exchange = self.exchange(node)
        read = dict.fromkeys(node.workers, update)
        # Where it is compressed, what comes is how far a worker got from what it was sent.
        sent = dict.fromkeys(node.workers, parameters if self.compression else None)
        while True:
            push = yield node.receive(("push", "join"))
            if push.tag == "push":
                model = exchange.concluded(exchange.decode(push.body), sent[push.sender])
                staleness = update - read[push.sender]
                alpha = self.mixing * self.damping.factor(staleness)
                parameters = node.mix(parameters, model, weights=(1 - alpha, alpha))
                update += 1
                node.publish(parameters, update, contributor=push.sender, staleness=staleness)
            node.send(push.sender, parameters, tag="model")
            read[push.sender] = update
            sent[push.sender] = parameters if self.compression else None
            yield from node.keep(update, parameters)
