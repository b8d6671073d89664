"""Synchronous training around one parameter server."""

import itertools
from typing import ClassVar, Literal

from simbench.node import Node, Steps
from simbench.strategy import ServerPlace, Strategy


class ParameterServer(Strategy):
    """Every worker takes a step, the server averages, and all go on from the same parameters.

    With ``combine: parameters``, theta <- 1/N sum_i theta_i, where theta_i is worker i's after its
    local step. With ``combine: gradients``, the server's optimiser takes one step on 1/N sum_i g_i.
    For SGD without momentum the two are the same.

    Source:
        Li et al., "Scaling Distributed Machine Learning with the Parameter Server", OSDI 2014;
        Chen et al., "Revisiting Distributed Synchronous SGD", 2016, arXiv:1604.00981,
        algorithms 1 and 2.
    """

    kind: Literal["parameter_server"] = "parameter_server"
    combine: Literal["parameters", "gradients"] = "parameters"
    """What workers push and the server averages."""
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    def work(self, node: Node) -> Steps:
        """Step, push, pull."""
        state = node.initial_state()
        while True:
            gradient = yield node.compute_gradient(state.parameters)
            if self.combine == "gradients":
                node.send(node.server, gradient, tag="push")
            else:
                state = node.step(state, gradient)
                node.send(node.server, state.parameters, tag="push")
            model = yield node.receive("model")
            state = state.with_parameters(model.body)

    def serve(self, node: Node) -> Steps:
        """Average what all workers push, and send it to all."""
        state = node.initial_state()
        for step in itertools.count(1):
            pushes = yield from node.receive_from_each(node.workers, "push")
            mean = node.mix(*(push.body for push in pushes))
            if self.combine == "gradients":
                state = node.step(state, mean)
            else:
                state = state.with_parameters(mean)
            node.publish(state.parameters, progress=step)
            for worker in node.workers:
                node.send(worker, state.parameters, tag="model")
