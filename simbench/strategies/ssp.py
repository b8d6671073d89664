"""Stale synchronous parallel: a worker may run ahead of the slowest, but only so far."""

import itertools
from typing import ClassVar, Literal

from pydantic import NonNegativeInt

from simbench.node import Node, Steps
from simbench.strategy import CompressingStrategy, ServerPlace


class StaleSynchronous(CompressingStrategy):
    """A worker may start clock c once every worker has finished clock c - 1 - ``staleness``.

    In a clock, worker i takes one local step from the parameters that it read, which changes them
    by delta_i, and pushes that. The server adds its share on arrival, theta <- theta + delta_i / N,
    and returns theta as soon as the worker may go on: at once, or when the slowest has caught up.
    A reading holds all that anybody did up to clock c - 1 - ``staleness``, all of the reader's own,
    and what else has arrived. Nobody is ever more than ``staleness`` + 1 finished clocks ahead.

    With ``staleness`` 0 all read the same, and it is ``parameter_server`` on the mean of their
    parameters. The larger ``staleness``, the nearer it comes to ``asynchronous`` with 1/N of each
    change.

    Source:
        Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter
        Server", NeurIPS 2013, section 2 (the conditions on clocks and readings); Cipar et al.,
        "Solving the Straggler Problem with Bounded Staleness", HotOS 2013.
    """

    kind: Literal["ssp"] = "ssp"
    staleness: NonNegativeInt = 3
    """s: clocks that a reading may lack; with 0 a clock ends when the slowest worker ends it."""
    server: ServerPlace = "own_machine"
    """``own_machine``, or the rank of the worker whose machine and link it shares."""

    counts: ClassVar[Literal["steps", "updates"]] = "updates"

    @property
    def server_place(self) -> ServerPlace:
        """Where ``server`` says."""
        return self.server

    def work(self, node: Node) -> Steps:
        """Step from what the server last sent, push the change, wait for leave to go on."""
        state, exchange = node.initial_state(), self.exchange(node)
        while True:
            gradient = yield node.compute_gradient(state.parameters)
            stepped = node.step(state, gradient)
            encoding = exchange.encode(node.subtract(stepped.parameters, state.parameters))
            node.send(node.server, (yield from encoding), tag="push")
            model = yield node.receive("model")
            state = stepped.with_parameters(model.body)

    def serve(self, node: Node) -> Steps:
        """Add what arrives; send the parameters to whoever isn't too far ahead of the slowest."""
        parameters, exchange = node.initial_state().parameters, self.exchange(node)
        share = 1 / len(node.workers)
        read = dict.fromkeys(node.workers, 0)
        finished = dict.fromkeys(node.workers, 0)
        waiting: list[int] = []
        for update in itertools.count(1):
            push = yield node.receive("push")
            parameters = node.mix(parameters, exchange.decode(push.body), weights=(1.0, share))
            staleness = update - 1 - read[push.sender]
            node.publish(parameters, update, contributor=push.sender, staleness=staleness)
            finished[push.sender] += 1
            waiting.append(push.sender)
            furthest = min(finished.values()) + self.staleness
            for worker in sorted(each for each in waiting if finished[each] <= furthest):
                waiting.remove(worker)
                node.send(worker, parameters, tag="model")
                read[worker] = update
