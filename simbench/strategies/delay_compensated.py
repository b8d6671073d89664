"""Asynchronous training whose server makes up for the age of what arrives."""

from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from simbench.learning.operations_delay import Compensate, MeanSquare
from simbench.node import Node, State, Steps
from simbench.strategy import CompressingStrategy, ServerPlace


class DelayCompensated(CompressingStrategy):
    """A worker's gradient is corrected for what the server's parameters did since it read them.

    Worker i pushes g, the gradient at the w_i that it read. The server steps, by the task's
    optimiser, along g + c g*g*(w - w_i), and returns w at once; for SGD that is
    w <- w - lr (g + c g*g*(w - w_i)). g*g stands for the Hessian's diagonal in a Taylor expansion.
    ``constant``: c = ``strength``. ``adaptive``: c = ``strength`` / sqrt(v + 1e-7), entry by entry,
    with v <- m v + (1 - m) g*g over all gradients that arrive and m = ``decay``.

    Source:
        Zheng et al., "Asynchronous Stochastic Gradient Descent with Delay Compensation", ICML 2017,
        arXiv:1609.08326, algorithms 1 (worker) and 2 (server); its DC-ASGD-c is ``constant``, its
        DC-ASGD-a ``adaptive``.
    """

    kind: Literal["delay_compensated"] = "delay_compensated"
    variant: Literal["constant", "adaptive"] = "constant"
    """Whether c is the same for all entries and at all times."""
    strength: NonNegativeFloat = 0.04
    """The paper's lambda_0; 0 is asynchronous SGD."""
    decay: float = Field(default=0.95, ge=0, lt=1)
    """The paper's m: how much of the mean of squares stays; ``adaptive`` alone reads it."""
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""

    counts: ClassVar[Literal["steps", "updates"]] = "updates"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    @property
    def exchanges_gradients(self) -> bool:
        """It does."""
        return True

    def work(self, node: Node) -> Steps:
        """Push the gradient at what the server last sent, wait for the server's answer."""
        parameters, exchange = node.initial_state().parameters, self.exchange(node)
        while True:
            gradient = yield node.compute_gradient(parameters)
            node.send(node.server, (yield from exchange.encode(gradient)), tag="push")
            parameters = (yield node.receive("model")).body

    def serve(self, node: Node) -> Steps:
        """Compensate and step, in order of arrival; remember what each worker was sent."""
        update, state, squares = node.resume(0, node.initial_state(), None)
        exchange = self.exchange(node)
        sent = dict.fromkeys(node.workers, (state.parameters, update))
        while True:
            push = yield node.receive(("push", "join"))
            if push.tag == "push":
                gradient = exchange.concluded(exchange.decode(push.body))
                read, version = sent[push.sender]
                if self.variant == "adaptive":
                    before = () if squares is None else (squares,)
                    squares = node.apply(MeanSquare(self.decay), gradient, *before)
                state = node.step(state, self._compensated(node, gradient, state, read, squares))
                staleness = update - version
                update += 1
                node.publish(state.parameters, update, contributor=push.sender, staleness=staleness)
            node.send(push.sender, state.parameters, tag="model")
            sent[push.sender] = state.parameters, update
            yield from node.keep(update, state, squares)

    def _compensated(self, node: Node, gradient: Any, state: State, read: Any, squares: Any) -> Any:
        """Return what to step along instead of the ``gradient`` at ``read``."""
        drift = (state.parameters, read) if squares is None else (state.parameters, read, squares)
        return node.apply(Compensate(self.strength), gradient, *drift)
