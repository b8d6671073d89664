"""Asynchronous training behind servers: nobody waits for another worker."""

from typing import ClassVar, Literal

from pydantic import PositiveInt, model_validator

from simbench.damping import DampingChoice
from simbench.dampings.constant import ConstantDamping
from simbench.exchange import Exchange
from simbench.execution.values import Value
from simbench.node import Node, Steps
from simbench.spec import misfit
from simbench.strategy import (
    CompressingStrategy,
    ServerPlace,
    ShardPlace,
    check_shards,
    shard_places,
)


class Asynchronous(CompressingStrategy):
    """A worker's change is added to the server's parameters on arrival, however old its reading.

    Worker i computes delta_i from the parameters that it read: theta_i <- theta_i + delta_i. The
    server adds it when it arrives, theta <- theta + delta_i, and returns theta at once; the
    worker's next step starts when that has arrived. Staleness tau counts the updates that were
    applied between the reading and the adding. With ``damping``, theta <- theta + s(tau) delta_i.

    With several ``servers``, each holds a piece of theta, adds the pieces of changes as they come
    to it, and returns its own; the worker goes on when all have. Nothing keeps the pieces of a
    reading consistent. Update u is there when each server has made its u-th addition, so as much
    has been added as u whole changes; its staleness is that of its stalest piece.

    Source:
        Dean et al., "Large Scale Distributed Deep Networks", NeurIPS 2012, section 4.1 (Downpour
        SGD, with a step from every batch, and its shards of the parameter server); Recht et al.,
        "Hogwild!", NeurIPS 2011, arXiv:1106.5730 (readings that aren't consistent);
        Zhang et al., "Staleness-aware Async-SGD for Distributed Deep Learning", IJCAI 2016,
        arXiv:1511.05950 (damping).
    """

    kind: Literal["asynchronous"] = "asynchronous"
    servers: PositiveInt = 1
    """k: how many servers share the parameters; each holds and serves a piece of them."""
    server: ShardPlace = "own_machine"
    """``own_machine`` each, or ``colocated`` with the first workers, or the rank of the worker
    whose machine and link the only one shares."""
    damping: DampingChoice = ConstantDamping()
    """How much of a stale change is added; by default all."""

    also_called: ClassVar[tuple[str, ...]] = ("async", "async_sgd", "downpour", "hogwild")
    counts: ClassVar[Literal["steps", "updates"]] = "updates"
    resumes: ClassVar[bool] = True

    @model_validator(mode="after")
    def _is_compressed_whole(self) -> "Asynchronous":
        if self.compression and self.servers > 1:
            raise misfit(("compression",), "needs servers: 1, since payloads have no pieces")
        return self

    @property
    def server_place(self) -> tuple[ServerPlace, ...]:
        """Where ``server`` says."""
        return shard_places(self.server, self.servers)

    def check(self, num_workers: int) -> None:
        """Refuse servers that have no place."""
        check_shards(self.server, self.servers, num_workers, self.on_failure)

    def work(self, node: Node) -> Steps:
        """Step from what the servers last sent, push the change, wait for their answers."""
        state, exchange = node.initial_state(), self.exchange(node)
        while True:
            gradient = yield node.compute_gradient(state.parameters)
            stepped = node.step(state, gradient)
            yield from self._push(node, exchange, stepped.parameters, state.parameters)
            mails = yield from node.receive_from_each(node.servers, "model")
            state = stepped.with_parameters(node.paste([mail.body for mail in mails]))

    def _push(self, node: Node, exchange: Exchange, new: Value, old: Value) -> Steps:
        """Send each server its piece; who waits for the answers doesn't hold them any more."""
        pushed = yield from exchange.encode(node.subtract(new, old))
        pieces = node.split(pushed, len(node.servers))
        for server, piece in zip(node.servers, pieces, strict=True):
            node.send(server, piece, tag="push")

    def serve(self, node: Node) -> Steps:
        """Add what arrives of this server's piece, in order of arrival, and answer its sender.

        A worker that joins is answered, too.
        """
        pieces = node.split(node.initial_state().parameters, len(node.servers))
        update, parameters = node.resume(0, pieces[node.servers.index(node.rank)])
        exchange = self.exchange(node)
        read = dict.fromkeys(node.workers, update)
        while True:
            push = yield node.receive(("push", "join"))
            if push.tag == "push":
                staleness = update - read[push.sender]
                weight = self.damping.factor(staleness)
                parameters = node.mix(parameters, exchange.decode(push.body), weights=(1.0, weight))
                update += 1
                node.publish(parameters, update, contributor=push.sender, staleness=staleness)
            node.send(push.sender, parameters, tag="model")
            read[push.sender] = update
            yield from node.keep(update, parameters)
