"""Decentralised parallel SGD: each node averages with its neighbours at every step."""

import itertools
from typing import Annotated, ClassVar, Literal

from simbench.execution.values import Value
from simbench.node import Node, Steps
from simbench.peer_graph import PeerGraph
from simbench.peer_graphs.ring import RingGraph
from simbench.public_copies import PublicCopies
from simbench.spec import OneOf, misfit
from simbench.strategy import GossipStrategy


class DPSGD(GossipStrategy):
    """At every step each node takes the mean of its own and its neighbours' parameters.

    With doubly stochastic W_k, x_{k+1,i} = sum_j W_k,ij x_{k,j} - lr g_i(x_{k,i}). That is
    ``combine_then_adapt``, the paper's order: neighbours' parameters travel while the gradient is
    computed. With ``adapt_then_combine``, x_{k+1,i} = sum_j W_k,ij (x_{k,j} - lr
    g_j(x_{k,j})): they travel after the step, and on the complete graph this is all-reduce SGD.

    With a ``compression`` it is CHOCO-SGD (``simbench.public_copies``): its authors' code in the
    first order, their algorithm 2 in the second.

    Source:
        Lian et al., "Can Decentralized Algorithms Outperform Centralized Algorithms? A Case Study
        for Decentralized Parallel Stochastic Gradient Descent", NIPS 2017, arXiv:1705.09056,
        algorithm 1.
    """

    kind: Literal["d_psgd"] = "d_psgd"
    graph: Annotated[PeerGraph, OneOf("simbench.peer_graphs")] = RingGraph()
    """Who talks to whom; each node has as many in as out, or edges go both ways."""
    order: Literal["combine_then_adapt", "adapt_then_combine"] = "combine_then_adapt"
    """Whether neighbours' parameters from before or after their step are mixed."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    def check(self, num_workers: int) -> None:
        """Refuse a graph that doesn't fit or has no doubly stochastic weights."""
        self.graph.check("graph", num_workers)
        for step in range(self.graph.period(num_workers)):
            if not self.graph.round(num_workers, step).can_average:
                raise misfit(
                    ("graph",),
                    "averaging wants edges that go both ways, or as many in as out at every node; "
                    "push_sum takes any directed graph",
                )
        shrinks = self.graph.fits_any_number or self.graph.round(num_workers, 0).is_symmetric
        if self.on_failure.goes_on and not shrinks:
            raise misfit(
                ("on_failure",),
                "what is left of this graph without a node can't average: its edges have one "
                "direction",
            )

    def work(self, node: Node) -> Steps:
        """Mix and step, in the chosen order."""
        done, state = node.resume(0, node.initial_state())
        copies = self.copies(node)
        for step in itertools.count(done + 1):
            if self.order == "combine_then_adapt":
                computing = node.compute_gradient(state.parameters)
                mixed = yield from self._mix(node, copies, state.parameters, step)
                state = node.step(state.with_parameters(mixed), (yield computing))
            else:
                state = node.step(state, (yield node.compute_gradient(state.parameters)))
                mixed = yield from self._mix(node, copies, state.parameters, step)
                state = state.with_parameters(mixed)
            node.publish(state.parameters, progress=step)
            yield from node.keep(step, state)

    def _mix(self, node: Node, copies: PublicCopies, own: Value, step: int) -> Steps:
        """Send ``own`` to the neighbours, return the weighted mean of theirs and it."""
        now = self.graph.among(node.members_in(step), len(node.workers), step - 1)
        tag = f"step {step}"
        for peer in now.sends[node.rank]:
            node.send(peer, (yield from copies.encode(own, peer)), tag)
        mails = yield from node.receive_from_each(now.receives[node.rank], tag)
        if self.compression:
            gives = {peer: now.averaging(peer)[node.rank] for peer in now.sends[node.rank]}
            return copies.mix(own, mails, now.averaging(node.rank), gives)
        theirs = {mail.sender: mail.body for mail in mails} | {node.rank: own}
        weights = now.averaging(node.rank, theirs)
        # Equal weights are the mean that an all-reduce makes, bit for bit.
        uneven = len(set(weights.values())) > 1
        vectors = [theirs[rank] for rank in weights]
        return node.mix(*vectors, weights=list(weights.values()) if uneven else None)
