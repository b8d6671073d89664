"""Stale synchronous parallel: a worker may run ahead of the slowest, but only so far."""

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
    resumes: ClassVar[bool] = True

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
        update, parameters = node.resume(0, node.initial_state().parameters)
        exchange = self.exchange(node)
        read = dict.fromkeys(node.workers, update)
        finished = dict.fromkeys(node.workers, 0)
        waiting: list[int] = []
        while True:
            news = yield node.receive(("push", "join", "left"))
            if news.tag == "push":
                share = 1 / len(node.members)
                parameters = node.mix(parameters, exchange.decode(news.body), weights=(1.0, share))
                staleness = update - read[news.sender]
                update += 1
                node.publish(parameters, update, contributor=news.sender, staleness=staleness)
                finished[news.sender] += 1
            elif news.tag == "join":
                others = [each for each in node.members if each != news.sender]
                finished[news.sender] = min((finished[each] for each in others), default=0)
            waiting = [each for each in node.members if each in (*waiting, news.sender)]
            furthest = min((finished[each] for each in node.members), default=0) + self.staleness
            for worker in [each for each in waiting if finished[each] <= furthest]:
                waiting.remove(worker)
                node.send(worker, parameters, tag="model")
                read[worker] = update
            yield from node.keep(update, parameters)
