"""K-batch-sync SGD: the first K gradients of a version count, whoever computes them."""

from typing import Any, ClassVar, Literal

from pydantic import PositiveInt
from simpy.events import Event, Process

from simbench.mailbox import Mail
from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy, OptimizerChoice, ServerPlace


class KBatchSync(CompressingStrategy):
    """The server takes a step on the mean of the first ``batches`` gradients of its parameters.

    A worker that has finished a batch pushes its gradient and goes on with its next batch at the
    same parameters, so it may bring several of the K gradients, and nobody is idle. With the K-th
    that arrives, the server steps and sends the new version to all; a worker that hears of it drops
    what it was about and begins anew. Gradients of an earlier version are dropped when they arrive.

    Nobody has more than one vector under way to anybody else. A worker that has finished a gradient
    sends it when its last push has arrived, and drops it if a new version comes before that. The
    server sends a worker the newest version when the last one has arrived. Otherwise, where links
    are slower than computing, messages that are no longer of use would queue in front of those that
    are, more at each step.

    Source:
        Dutta, Joshi, Ghosh, Dube, Nagpurkar, "Slow and Stale Gradients Can Win the Race", AISTATS
        2018, arXiv:1803.01113 (K-batch-sync SGD: K theta/N a step of N exponential workers).
    """

    kind: Literal["k_batch_sync"] = "k_batch_sync"
    batches: PositiveInt = 4
    """K: gradients behind a step, of which a worker may bring several, or none."""
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""
    optimizer: OptimizerChoice | None = None
    """The server's optimiser for the mean gradient; by default that of the task."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    @property
    def exchanges_gradients(self) -> bool:
        """It does."""
        return True

    @property
    def is_order_dependent(self) -> bool:
        """It is: who is first counts."""
        return True

    def batches_per_count(self, num_workers: int) -> int:
        """Return K."""
        return self.batches

    def work(self, node: Node) -> Steps:
        """Compute at the same version, again and again, until the news of another one come."""
        parameters, version = node.initial_state().parameters, node.first_version
        exchange = self.exchange(node)
        last_push: list[Event] = []
        while True:
            computing = node.compute_gradient(parameters)
            for word in (computing, *last_push):
                news = node.receive("model", newer_than=version)
                if (yield from node.race(word, news)) is news:
                    parameters, version = news.mail.body, news.mail.version
                    break
            else:
                gradient: Any = computing.value
                pushed = yield from exchange.encode(gradient)
                last_push = [node.send(node.server, pushed, tag="push", version=version)]

    def serve(self, node: Node) -> Steps:
        """Step on the first K gradients of a version; see that everybody gets the newest.

        A worker that joins is sent it, too.
        """
        version, state = node.resume(0, node.initial_state())
        exchange = self.exchange(node)
        under_way: dict[int, Process] = {}

        def bring(worker: int, has: int) -> Steps:
            while has < version:
                has = version
                yield node.send(worker, state.parameters, tag="model", version=has)

        while True:
            pushes: list[Mail] = []
            while len(pushes) < self.batches:
                push = yield node.receive(("push", "join"))
                if push.tag == "join":
                    # What was on its way when it left never arrives.
                    under_way[push.sender] = node.start(bring(push.sender, has=-1))
                elif push.version == version:
                    pushes.append(push)
            pushes.sort(key=lambda push: push.sender)
            mean = exchange.mean([push.body for push in pushes])
            state, version = node.step(state, mean, self.optimizer), version + 1
            node.publish(state.parameters, progress=version)
            for worker in node.members:
                if worker not in under_way or not under_way[worker].is_alive:
                    under_way[worker] = node.start(bring(worker, has=version - 1))
            yield from node.keep(version, state)
