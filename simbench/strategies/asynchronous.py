"""Asynchronous training behind one server: nobody waits for another worker."""

import itertools
from typing import ClassVar, Literal

from simbench.damping import DampingChoice
from simbench.dampings.constant import ConstantDamping
from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy, ServerPlace


class Asynchronous(CompressingStrategy):
    """A worker's change is added to the server's parameters on arrival, however old its reading.

    Worker i computes delta_i from the parameters that it read: theta_i <- theta_i + delta_i. The
    server adds it when it arrives, theta <- theta + delta_i, and returns theta at once; the
    worker's next step starts when that has arrived. Staleness tau counts the updates that were
    applied between the reading and the adding. With ``damping``, theta <- theta + s(tau) delta_i.

    Source:
        Dean et al., "Large Scale Distributed Deep Networks", NeurIPS 2012, section 4.1 (Downpour
        SGD, with a step from every batch); Recht et al., "Hogwild!", NeurIPS 2011, arXiv:1106.5730;
        Zhang et al., "Staleness-aware Async-SGD for Distributed Deep Learning", IJCAI 2016,
        arXiv:1511.05950 (damping).
    """

    kind: Literal["asynchronous"] = "asynchronous"
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""
    damping: DampingChoice = ConstantDamping()
    """How much of a stale change is added; by default all."""

    counts: ClassVar[Literal["steps", "updates"]] = "updates"

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    def work(self, node: Node) -> Steps:
        """Step from what the server last sent, push the change, wait for the server's answer."""
        state, exchange = node.initial_state(), self.exchange(node)
        while True:
            gradient = yield node.compute_gradient(state.parameters)
            stepped = node.step(state, gradient)
            change = node.subtract(stepped.parameters, state.parameters)
            node.send(node.server, (yield from exchange.encode(change)), tag="push")
            model = yield node.receive("model")
            state = stepped.with_parameters(model.body)

    def serve(self, node: Node) -> Steps:
        """Add what arrives, in order of arrival, and answer its sender."""
        parameters, exchange = node.initial_state().parameters, self.exchange(node)
        read = dict.fromkeys(node.workers, 0)
        for update in itertools.count(1):
            push = yield node.receive("push")
            staleness = update - 1 - read[push.sender]
            weight = self.damping.factor(staleness)
            change = exchange.decode(push.body)
            parameters = node.mix(parameters, change, weights=(1.0, weight))
            node.publish(parameters, update, contributor=push.sender, staleness=staleness)
            node.send(push.sender, parameters, tag="model")
            read[push.sender] = update
