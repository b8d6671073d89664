"""Asynchronous local SGD: long inner phases, and outer steps as soon as somebody comes back."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from simbench.learning.optimizers.delayed_nesterov import DelayedNesterov
from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy, OptimizerChoice, ServerPlace
from simbench.units import Nanoseconds


class AsyncLocalSGD(CompressingStrategy):
    """Workers train alone from the server's theta; whoever ends first opens a window of ``grace``.

    Worker i takes H_i steps of the task's optimiser, the inner one, from the theta that it read to
    theta_i, and pushes Delta_i = theta - theta_i. A window closes with the last push that comes
    within ``grace`` of its first. With W the workers merged in it, in the order of their coming,

        theta <- OuterOptimizer(theta, 1/|W| sum_{i in W} Delta_i)      outer_step: window
        theta <- OuterOptimizer(theta, Delta_i) for each i in W         outer_step: push

    and all of them go on from theta together. H_i = ``period`` or, with dynamic local updates, H_i
    = max(1, floor(``period`` v_i / max_j v_j)), where v_i is worker i's usual speed.

    The server lets a window close early when it expects nobody else in time, judging by how long
    each worker took last, and at first by its usual speed; ``grace: null`` waits for all.

    Source:
        Liu et al., "Asynchronous Local-SGD Training for Language Modeling", 2024, arXiv:2401.09135,
        algorithms 2 and 5 (grace period), 3 (delayed Nesterov) and equation 6 (dynamic local
        updates, without the 1).
    """

    kind: Literal["async_local_sgd"] = "async_local_sgd"
    period: PositiveInt = 8
    """H, the inner steps of the fastest worker, or of all."""
    grace: Nanoseconds | None = 0
    """How long those who ended wait for others; ``null`` waits for all: synchronous local SGD."""
    outer: OptimizerChoice = DelayedNesterov(learning_rate=0.7, momentum=0.5)
    """The outer optimiser, with a learning rate of its own; the authors' momentum is 0.9."""
    outer_step: Literal["window", "push"] = "push"
    """What it steps on: the mean of a window's pushes or, as in the paper, one after the other."""
    local_updates: Literal["fixed", "dynamic"] = "fixed"
    """Whether slower workers take fewer inner steps, so that all come back about together."""
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""

    counts: ClassVar[Literal["steps", "updates"]] = "updates"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    def work(self, node: Node) -> Steps:
        """Take the inner steps, push what they changed, wait until the window has closed."""
        state, steps = node.initial_state(), self._steps(node, node.rank)
        exchange = self.exchange(node)
        while True:
            read = state.parameters
            for _ in range(steps):
                state = node.step(state, (yield node.compute_gradient(state.parameters)))
            pushed = yield from exchange.encode(node.subtract(read, state.parameters))
            node.send(node.server, pushed, tag="push")
            model = yield node.receive("model")
            state = state.with_parameters(model.body)

    def serve(self, node: Node) -> Steps:
        """Gather a window's pushes, step on them, let their workers go on."""
        update, shared = node.resume(0, node.initial_state())
        exchange = self.exchange(node)
        steps = {worker: self._steps(node, worker) for worker in node.workers}
        took_ns = {worker: steps[worker] * node.usual_step_ns(worker) for worker in node.workers}
        began_ns = dict.fromkeys(node.workers, node.now_ns)
        read = dict.fromkeys(node.workers, update)

        def let_go(worker: int) -> None:
            node.send(worker, shared.parameters, tag="model")
            began_ns[worker], read[worker] = node.now_ns, update

        while True:
            pushes = yield from self._window(node, began_ns, took_ns, let_go)
            changes = [exchange.decode(push.body) for push in pushes]
            for change in [node.mix(*changes)] if self.outer_step == "window" else changes:
                shared = node.step(shared, change, self.outer)
            update += 1
            merged = [push.sender for push in pushes]
            node.publish(
                shared.parameters,
                update,
                contributor=merged[0] if len(merged) == 1 else None,
                staleness=update - 1 - min(read[worker] for worker in merged),
                batches=sum(steps[worker] for worker in merged),
            )
            for worker in merged:
                let_go(worker)
            yield from node.keep(update, shared)

    def _window(
        self,
        node: Node,
        began_ns: dict[int, int],
        took_ns: dict[int, int],
        let_go: Callable[[int], None],
    ) -> Steps:
        """Wait for the first push and those that come within the grace time; note how long.

        Whoever joins meanwhile is let go at once, and what it had pushed before is forgotten.
        """
        pushes: list[Any] = []
        awaited, over, closes_ns = list(node.members), None, math.inf
        while not pushes or any(began_ns[i] + took_ns[i] <= closes_ns for i in awaited):
            arriving = node.receive(("push", "join", "left"))
            if over is None:
                yield arriving
            elif (yield from node.race(arriving, over)) is over:
                break
            worker = arriving.mail.sender
            awaited = [each for each in node.members if each in awaited and each != worker]
            if arriving.mail.tag == "join":
                pushes = [push for push in pushes if push.sender != worker]
                let_go(worker)
                awaited.append(worker)
                if not pushes:
                    over, closes_ns = None, math.inf
            elif arriving.mail.tag == "push":
                pushes.append(arriving.mail)
                took_ns[worker] = node.now_ns - began_ns[worker]
                if over is None and self.grace is not None:
                    over, closes_ns = node.wait(self.grace), node.now_ns + self.grace
        return pushes

    def _steps(self, node: Node, worker: int) -> int:
        """Return the inner steps that ``worker`` takes."""
        if self.local_updates == "fixed":
            return self.period
        fastest_ns = min(node.usual_step_ns(each) for each in node.workers)
        return max(1, self.period * fastest_ns // node.usual_step_ns(worker))
