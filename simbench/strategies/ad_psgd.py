"""Asynchronous decentralised parallel SGD: pairs average when one of the two wants to."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import model_validator

from simbench.execution.values import Value
from simbench.node import Node, State, Steps
from simbench.peer_graph import PeerGraph, distances
from simbench.peer_graphs.complete import CompleteGraph
from simbench.public_copies import PublicCopies
from simbench.spec import OneOf, misfit
from simbench.strategy import GossipStrategy


class ADPSGD(GossipStrategy):
    """Nobody waits for a slow neighbour: a replica is averaged while its gradient is computed.

    Workers of even rank are active, those of odd rank passive, and only edges between the two kinds
    are used, so that nobody waits in a circle. Where some have left, it is the places among those
    who are there that are even or odd. Whenever an active worker i begins a gradient, it sends x_i
    to a random neighbour j, which averages at once, whatever it is computing, and returns the mean:

        x_i, x_j <- (x_i + x_j) / 2

    Every worker steps when its gradient is there, from what its replica has become meanwhile,
    x_i <- x_i - lr g_i(y_i), where y_i is what it was when the gradient began. An active worker's
    gradient waits for the averaging that began with it. Each step is an update; the model is the
    mean of all replicas, and staleness counts the steps of others since y_i was read.

    With a ``compression`` both send differences, and each moves by half of what the two copies of
    their edge differ (``simbench.public_copies``).

    Source:
        Lian, Zhang, Zhang, Liu, "Asynchronous Decentralized Parallel Stochastic Gradient Descent",
        ICML 2018, arXiv:1710.06952, algorithm 1 with pairs for W_k, and its remedy for deadlocks.
    """

    kind: Literal["ad_psgd"] = "ad_psgd"
    graph: Annotated[PeerGraph, OneOf("simbench.peer_graphs")] = CompleteGraph()
    """Who may average with whom; edges go both ways, and those between two workers of even rank, or
    two of odd rank, aren't used."""

    counts: ClassVar[Literal["steps", "updates"]] = "updates"
    resumes: ClassVar[bool] = True

    @model_validator(mode="after")
    def _has_no_common_state(self) -> "ADPSGD":
        if self.on_failure.rolls_back:
            raise misfit(
                ("on_failure",),
                "there is no step that all have done, so none to go back to; one can wait or go on",
            )
        return self

    def donors(self, newcomer: int, members: Sequence[int], num_workers: int) -> Sequence[int]:
        """Return the neighbours that it will have, or all if it will have none."""
        there = sorted([*members, newcomer])
        return self._neighbours(newcomer, there, num_workers) or members

    def check(self, num_workers: int) -> None:
        """Refuse edges of one direction, and a graph that its used edges don't hold together."""
        self.graph.check("graph", num_workers)
        rounds = range(self.graph.period(num_workers))
        if not all(self.graph.round(num_workers, step).is_symmetric for step in rounds):
            raise misfit(("graph",), "pairs average, which wants edges that go both ways")
        every = range(num_workers)
        reached = distances({rank: self._neighbours(rank, every, num_workers) for rank in every})
        for rank in every:
            if rank not in reached:
                raise misfit(
                    ("graph",),
                    f"without edges between two even or two odd ranks, node {rank} never hears of "
                    "node 0",
                )

    def work(self, node: Node) -> Steps:
        """Compute, and if active average at the same time, then step; average with whoever asks."""
        _, done, state = node.resume(0, 0, node.initial_state())
        replica = _Replica(node, state, self.copies(node), is_compressed=bool(self.compression))
        if done:  # it has joined, and has a replica from now on
            replica.become(state.parameters)
        node.start(replica.answer())
        for step in itertools.count(done):
            computing = node.compute_gradient(replica.state.parameters)
            members = node.members
            peers = self._peers(node.rank, members, len(node.workers), step)
            if peers and self.graph.number(node.rank, members) % 2 == 0:
                draw = node.shared_draw(f"partner of {node.rank}", step)
                yield from replica.ask(peers[int(draw.integers(len(peers)))])
            gradient = yield computing
            # From what the state has become meanwhile.
            replica.state = node.step(replica.state, gradient)
            node.publish(replica.state.parameters)
            # Nobody counts rounds that all share: who joins takes part at once.
            yield from node.keep(0, step + 1, replica.state)

    def _neighbours(self, rank: int, members: Sequence[int], num_workers: int) -> list[int]:
        """Return the neighbours of the other kind in any round."""
        rounds = range(self.graph.period(num_workers))
        return [peer for step in rounds for peer in self._peers(rank, members, num_workers, step)]

    def _peers(
        self, rank: int, members: Sequence[int], num_workers: int, step: int
    ) -> Sequence[int]:
        """Return the neighbours of the other kind."""
        number, peers = self.graph.number, self.graph.among(members, num_workers, step).sends[rank]
        own = number(rank, members) % 2
        return [peer for peer in peers if number(peer, members) % 2 != own]


@dataclass
class _Replica:
    """What a worker holds and others may change, whatever the worker does."""

    node: Node
    state: State
    copies: PublicCopies
    is_compressed: bool

    def become(self, parameters: Value) -> None:
        """Be others without having trained."""
        self.state = self.state.with_parameters(parameters)
        self.node.publish(parameters, batches=0)

    def ask(self, partner: int) -> Steps:
        """Average with ``partner``, unless it leaves."""
        sent = self.state.parameters
        self.node.send(partner, (yield from self.copies.encode(sent, partner)), tag="average")
        mail = yield self.node.receive("mean", partner)
        if mail is None:
            return
        own, mean = self.state.parameters, mail.body
        if self.is_compressed:
            mean = self.copies.meet(own, mail)
        elif own is not sent:
            # It was passive before somebody left or joined, and has been asked meanwhile.
            mean = self.node.mix(own, mean, sent, weights=(1.0, 1.0, -1.0))
        self.become(mean)

    def answer(self) -> Steps:
        """Average with whoever asks."""
        while True:
            mail = yield self.node.receive("average")
            if self.is_compressed:
                reply = yield from self.copies.encode(self.state.parameters, mail.sender)
                mean = self.copies.meet(self.state.parameters, mail)
            else:
                reply = mean = self.node.mix(mail.body, self.state.parameters)
            self.become(mean)
            self.node.send(mail.sender, reply, tag="mean")
