"""Synchronous training around one parameter server."""

import itertools
from collections.abc import Generator
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, model_validator
from simpy.events import Event

from simbench.exchange import Exchange
from simbench.node import Node, State, Steps
from simbench.spec import misfit
from simbench.strategy import CompressingStrategy, OptimizerChoice, ServerPlace


class ParameterServer(CompressingStrategy):
    """Every worker takes a step, the server averages, and all go on from the same parameters.

    With ``combine: parameters``, theta <- 1/N sum_i theta_i, where theta_i is worker i's after its
    local step. With ``combine: gradients``, the server's optimiser takes one step on 1/N sum_i g_i.
    For SGD without momentum the two are the same.

    With ``backup_workers`` b, the cluster's nodes are N + b. The server averages the first N pushes
    of a version and drops the rest; a worker that learns of the new version begins anew on it at
    once, whatever it was computing (synchronous SGD with backup workers, also called K-sync).

    Source:
        Li et al., "Scaling Distributed Machine Learning with the Parameter Server", OSDI 2014;
        Chen et al., "Revisiting Distributed Synchronous SGD", 2016, arXiv:1604.00981,
        algorithms 1 and 2, and 3 and 4 (backup workers); Dutta et al., "Slow and Stale Gradients
        Can Win the Race", AISTATS 2018, arXiv:1803.01113 (K-sync).
    """

    kind: Literal["parameter_server"] = "parameter_server"
    combine: Literal["parameters", "gradients"] = "parameters"
    """What workers push and the server averages."""
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""
    backup_workers: NonNegativeInt = 0
    """b: how many of the workers the server doesn't wait for."""
    optimizer: OptimizerChoice | None = None
    """The server's optimiser for the mean gradient; by default that of the task."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"

    @model_validator(mode="after")
    def _has_an_effect(self) -> "ParameterServer":
        if self.optimizer is None:
            return self
        if self.combine != "gradients":
            raise misfit(("optimizer",), f"needs combine: gradients; got combine: {self.combine}")
        if self.learning_rate is not None:
            raise misfit(("learning_rate",), "has no effect: the optimizer has one of its own")
        return self

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    @property
    def exchanges_gradients(self) -> bool:
        """If the server averages those."""
        return self.combine == "gradients"

    @property
    def is_order_dependent(self) -> bool:
        """Whether the server may drop what comes late."""
        return self.backup_workers > 0

    def check(self, num_workers: int) -> None:
        """Refuse to wait for nobody."""
        if self.backup_workers >= num_workers:
            raise misfit(
                ("backup_workers",),
                f"expected fewer than the {num_workers} nodes of the cluster, which they are "
                f"among; got {self.backup_workers}",
            )

    def batches_per_count(self, num_workers: int) -> int:
        """Return how many pushes the server averages."""
        return num_workers - self.backup_workers

    def work(self, node: Node) -> Steps:
        """Step, push, pull."""
        return self._race_news(node) if self.is_order_dependent else self._take_turns(node)

    def _take_turns(self, node: Node) -> Steps:
        state, exchange = node.initial_state(), self.exchange(node)
        while True:
            gradient = yield node.compute_gradient(state.parameters)
            state = yield from self._push(node, exchange, state, gradient)
            model = yield node.receive("model")
            state = state.with_parameters(model.body)

    def _race_news(self, node: Node) -> Steps:
        """Compute until the news of an update come, and begin anew from it."""
        state, version, exchange = node.initial_state(), 0, self.exchange(node)
        while True:
            computing = node.compute_gradient(state.parameters)
            news = node.receive("model", newer_than=version)
            if (yield from node.race(computing, news)) is computing:
                state = yield from self._push(node, exchange, state, computing.value, version)
                news = node.receive("model", newer_than=version)
                yield news
            state, version = state.with_parameters(news.mail.body), news.mail.version

    def _push(
        self, node: Node, exchange: Exchange, state: State, gradient: Any, version: int = 0
    ) -> Generator[Event, Any, State]:
        if self.combine == "gradients":
            body = yield from exchange.encode(gradient)
        else:
            read, state = state.parameters, node.step(state, gradient)
            body = yield from exchange.encode(state.parameters, since=read)
        node.send(node.server, body, tag="push", version=version)
        return state

    def serve(self, node: Node) -> Steps:
        """Average what workers push, and send it to all."""
        state, exchange = node.initial_state(), self.exchange(node)
        for step in itertools.count(1):
            if self.is_order_dependent:
                pushes = yield from self._first(node, step - 1)
            else:
                pushes = yield from node.receive_from_each(node.workers, "push")
            bodies = [push.body for push in pushes]
            if self.combine == "gradients":
                state = node.step(state, exchange.mean(bodies), self.optimizer)
            else:
                state = state.with_parameters(exchange.mean(bodies, since=state.parameters))
            node.publish(state.parameters, progress=step)
            for worker in node.workers:
                node.send(worker, state.parameters, tag="model", version=step)

    def _first(self, node: Node, version: int) -> Steps:
        """Wait for enough pushes of ``version``; drop what comes late for an earlier one."""
        pushes: list[Any] = []
        while len(pushes) < self.batches_per_count(len(node.workers)):
            push = yield node.receive("push")
            if push.version == version:
                pushes.append(push)
        return sorted(pushes, key=lambda push: push.sender)
