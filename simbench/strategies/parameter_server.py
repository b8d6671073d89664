"""Synchronous training around a parameter server, or several that share the parameters."""

import itertools
from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt, model_validator
from simpy.events import Event

from simbench.exchange import Exchange, aggregate
from simbench.learning.aggregators.mean import Mean
from simbench.mailbox import Mail
from simbench.node import Node, State, Steps
from simbench.spec import misfit
from simbench.strategy import (
    AggregatorChoice,
    CompressingStrategy,
    OptimizerChoice,
    ServerPlace,
    ShardPlace,
    check_shards,
    shard_places,
)


class ParameterServer(CompressingStrategy):
    """Every worker takes a step, the server averages, and all go on from the same parameters.

    With ``combine: parameters``, theta <- 1/N sum_i theta_i, where theta_i is worker i's after its
    local step. With ``combine: gradients``, the server's optimiser takes one step on 1/N sum_i g_i.
    For SGD without momentum the two are the same.

    With several ``servers``, each holds a piece of theta, to which workers push theirs and from
    which they pull it. What is done goes entry by entry, so nothing else changes than the time.

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
    servers: PositiveInt = 1
    """k: how many servers share the parameters; each holds and serves a piece of them."""
    server: ShardPlace = "own_machine"
    """``own_machine`` each, or ``colocated`` with the first workers, or the rank of the worker
    whose machine and link the only one shares."""
    backup_workers: NonNegativeInt = 0
    """b: how many of the workers the server doesn't wait for."""
    aggregator: AggregatorChoice = Mean()
    """What the server makes of the pushes of a version."""
    optimizer: OptimizerChoice | None = None
    """The server's optimiser for the mean gradient; by default that of the task."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @model_validator(mode="after")
    def _can_be_done_in_pieces(self) -> "ParameterServer":
        if self.servers == 1:
            return self
        if self.compression:
            raise misfit(("compression",), "needs servers: 1, since payloads have no pieces")
        if self.backup_workers:
            raise misfit(
                ("backup_workers",), "needs servers: 1, since each would drop other workers' pieces"
            )
        if self.optimizer is not None and not self.optimizer.is_entrywise:
            raise misfit(
                ("optimizer",), "its transforms look at whole gradients, and need servers: 1"
            )
        if not self.aggregator.is_entrywise:
            raise misfit(
                ("aggregator",),
                f"{self.aggregator.kind} looks at whole vectors, and needs servers: 1",
            )
        return self

    @model_validator(mode="after")
    def _has_an_effect(self) -> "ParameterServer":
        if self.backup_workers and self.on_failure.goes_on:
            raise misfit(
                ("on_failure",), "backup_workers go on without whoever fails, as many as they are"
            )
        if self.optimizer is None:
            return self
        if self.combine != "gradients":
            raise misfit(("optimizer",), f"needs combine: gradients; got combine: {self.combine}")
        if self.learning_rate is not None:
            raise misfit(("learning_rate",), "has no effect: the optimizer has one of its own")
        return self

    @property
    def server_place(self) -> tuple[ServerPlace, ...]:
        """Where ``server`` says."""
        return shard_places(self.server, self.servers)

    @property
    def exchanges_gradients(self) -> bool:
        """If the server averages those."""
        return self.combine == "gradients"

    @property
    def steps_on_pieces(self) -> bool:
        """If several servers step, each by the task's optimiser."""
        return self.servers > 1 and self.combine == "gradients" and self.optimizer is None

    @property
    def is_order_dependent(self) -> bool:
        """Whether the server may drop what comes late, or go on without who fails."""
        return self.backup_workers > 0 or self.on_failure.goes_on

    def check(self, num_workers: int) -> None:
        """Refuse to wait for nobody, and an aggregator that can't do with so few."""
        if self.backup_workers >= num_workers:
            raise misfit(
                ("backup_workers",),
                f"expected fewer than the {num_workers} nodes of the cluster, which they are "
                f"among; got {self.backup_workers}",
            )
        check_shards(self.server, self.servers, num_workers, self.on_failure)
        self.aggregator.check("aggregator", self.batches_per_count(num_workers))
        if self.on_failure.goes_on:
            # So few may be left.
            self.aggregator.check("aggregator", 1)

    def batches_per_count(self, num_workers: int) -> int:
        """Return how many pushes the server averages."""
        return num_workers - self.backup_workers

    def work(self, node: Node) -> Steps:
        """Step, push, pull."""
        return self._race_news(node) if self.backup_workers else self._take_turns(node)

    def _take_turns(self, node: Node) -> Steps:
        state, exchange = node.initial_state(), self.exchange(node)
        while True:
            gradient = yield node.compute_gradient(state.parameters)
            state = yield from self._push(node, exchange, state, gradient)
            pieces = yield from node.receive_from_each(node.servers, "model")
            assert len({piece.version for piece in pieces}) == 1, "servers go in step"
            state = state.with_parameters(node.paste([piece.body for piece in pieces]))

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
            pushed = yield from exchange.encode(gradient)
        else:
            read, state = state.parameters, node.step(state, gradient)
            pushed = yield from exchange.encode(state.parameters, since=read)
        samples = node.num_samples if self.aggregator.reads_samples else None
        for server, piece in zip(node.servers, node.split(pushed, len(node.servers)), strict=True):
            node.send(server, piece, tag="push", version=version, number=samples)
        return state

    def serve(self, node: Node) -> Steps:
        """Average what workers push of this server's piece, and send it to all."""
        state, exchange = node.initial_state(), self.exchange(node)
        pieces = node.split(state.parameters, len(node.servers))
        state = state.with_parameters(pieces[node.servers.index(node.rank)])
        done, state = node.resume(0, state)
        for step in itertools.count(done + 1):
            if self.backup_workers:
                pushes = yield from self._first(node, step - 1)
            else:
                pushes = yield from node.receive_from_each(
                    node.workers, "push", welcome=state.parameters
                )
            if pushes:  # else all have left, and another server had heard from one before
                state = self._concluded(node, exchange, state, pushes)
                node.publish(state.parameters, progress=step, batches=len(pushes))
            for worker in node.workers:
                node.send(worker, state.parameters, tag="model", version=step)
            yield from node.keep(step, state)

    def _concluded(
        self, node: Node, exchange: Exchange, state: State, pushes: Sequence[Mail]
    ) -> State:
        """Return what the server makes of the pushes of a version."""
        mean = aggregate(
            node,
            self.aggregator,
            [exchange.decode(push.body) for push in pushes],
            [push.number or 1 for push in pushes],
        )
        if self.combine == "gradients":
            return node.step(state, exchange.concluded(mean), self.optimizer)
        return state.with_parameters(exchange.concluded(mean, since=state.parameters))

    def _first(self, node: Node, version: int) -> Steps:
        """Wait for enough pushes of ``version``; drop what comes late for an earlier one."""
        pushes: list[Any] = []
        while len(pushes) < self.batches_per_count(len(node.workers)):
            push = yield node.receive("push")
            if push.version == version:
                pushes.append(push)
        return sorted(pushes, key=lambda push: push.sender)
