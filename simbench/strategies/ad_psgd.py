"""Asynchronous decentralised parallel SGD: pairs average when one of the two wants to."""

import itertools
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import model_validator

from simbench.node import Node, Steps
from simbench.peer_graph import PeerGraph, distances
from simbench.peer_graphs.complete import CompleteGraph
from simbench.spec import OneOf, misfit
from simbench.strategy import Strategy


class ADPSGD(Strategy):
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

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

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
        if done:  # it has joined, and has a replica from now on
            node.publish(state.parameters, batches=0)

        def answer() -> Steps:
            nonlocal state
            while True:
                mail = yield node.receive("average")
                state = state.with_parameters(node.mix(mail.body, state.parameters))
                node.publish(state.parameters, batches=0)
                node.send(mail.sender, state.parameters, tag="mean")

        def ask(partner: int) -> Steps:
            nonlocal state
            sent = state.parameters
            node.send(partner, sent, tag="average")
            mail = yield node.receive("mean", partner)
            if mail is None:  # the partner has left
                return
            mean = mail.body
            if state.parameters is not sent:
                # It was passive before somebody left or joined, and has been asked meanwhile.
                mean = node.mix(state.parameters, mean, sent, weights=(1.0, 1.0, -1.0))
            state = state.with_parameters(mean)
            node.publish(state.parameters, batches=0)

        node.start(answer())
        for step in itertools.count(done):
            computing = node.compute_gradient(state.parameters)
            members = node.members
            peers = self._peers(node.rank, members, len(node.workers), step)
            if peers and self.graph.number(node.rank, members) % 2 == 0:
                draw = node.shared_draw(f"partner of {node.rank}", step)
                yield from ask(peers[int(draw.integers(len(peers)))])
            gradient = yield computing
            # From what the state has become meanwhile.
            state = node.step(state, gradient)
            node.publish(state.parameters)
            # Nobody counts rounds that all share: who joins takes part at once.
            yield from node.keep(0, step + 1, state)

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
