"""Asynchronous decentralised parallel SGD: pairs average when one of the two wants to."""

import itertools
from typing import Annotated, ClassVar, Literal

from simbench.node import Node, Steps
from simbench.peer_graph import PeerGraph, distances
from simbench.peer_graphs.complete import CompleteGraph
from simbench.spec import OneOf, misfit
from simbench.strategy import GossipStrategy


class ADPSGD(GossipStrategy):
    """Nobody waits for a slow neighbour: a replica is averaged while its gradient is computed.

    Workers of even rank are active, those of odd rank passive, and only edges between the two kinds
    are used, so that nobody waits in a circle. Whenever an active worker i begins a gradient, it
    sends x_i to a random neighbour j, which averages at once, whatever it is computing, and returns
    the mean:

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

    def check(self, num_workers: int) -> None:
        """Refuse edges of one direction, and a graph that its used edges don't hold together."""
        self.graph.check("graph", num_workers)
        rounds = range(self.graph.period(num_workers))
        if not all(self.graph.round(num_workers, step).is_symmetric for step in rounds):
            raise misfit(("graph",), "pairs average, which wants edges that go both ways")
        reached = distances(
            {
                rank: [peer for step in rounds for peer in self._peers(rank, num_workers, step)]
                for rank in range(num_workers)
            }
        )
        for rank in range(num_workers):
            if rank not in reached:
                raise misfit(
                    ("graph",),
                    f"without edges between two even or two odd ranks, node {rank} never hears of "
                    "node 0",
                )

    def work(self, node: Node) -> Steps:
        """Be active or passive."""
        return self._act(node) if node.rank % 2 == 0 else self._respond(node)

    def _act(self, node: Node) -> Steps:
        """Compute and average at the same time, then step."""
        state, copies = node.initial_state(), self.copies(node)
        for step in itertools.count():
            computing = node.compute_gradient(state.parameters)
            peers = self._peers(node.rank, len(node.workers), step)
            if peers:
                draw = node.shared_draw(f"partner of {node.rank}", step)
                peer, x = peers[int(draw.integers(len(peers)))], state.parameters
                node.send(peer, (yield from copies.encode(x, peer)), tag="average")
                mail = yield node.receive("mean")
                state = state.with_parameters(
                    copies.mix(x, [mail], {peer: 1 / 2}, {peer: 1 / 2})
                    if self.compression
                    else mail.body
                )
                node.publish(state.parameters, batches=0)
            state = node.step(state, (yield computing))
            node.publish(state.parameters)

    def _respond(self, node: Node) -> Steps:
        """Compute and step; in between, average with whoever asks."""
        state, copies = node.initial_state(), self.copies(node)

        def answer() -> Steps:
            nonlocal state
            while True:
                mail = yield node.receive("average")
                if self.compression:
                    reply = yield from copies.encode(state.parameters, mail.sender)
                    half = {mail.sender: 1 / 2}
                    mean = copies.mix(state.parameters, [mail], half, half)
                else:
                    reply = mean = node.mix(mail.body, state.parameters)
                state = state.with_parameters(mean)
                node.publish(state.parameters, batches=0)
                node.send(mail.sender, reply, tag="mean")

        node.start(answer())
        while True:
            gradient = yield node.compute_gradient(state.parameters)
            state = node.step(state, gradient)
            node.publish(state.parameters)

    def _peers(self, rank: int, num_workers: int, step: int) -> list[int]:
        """Return the neighbours of the other kind."""
        peers = self.graph.round(num_workers, step).sends[rank]
        return [peer for peer in peers if (peer - rank) % 2]
