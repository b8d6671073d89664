"""Gossip in pairs: at every step a random matching of the graph, whose pairs average."""

import itertools
from typing import Annotated, ClassVar, Literal

from pydantic import PositiveInt

from simbench.node import Node, Steps
from simbench.peer_graph import PeerGraph
from simbench.peer_graphs.complete import CompleteGraph
from simbench.spec import OneOf, misfit
from simbench.strategy import GossipStrategy


class MatchingGossip(GossipStrategy):
    """All take a step; then the pairs (i, j) of a random matching set x_i, x_j <- (x_i + x_j) / 2.

    The matching is drawn anew at each step and is the same on all nodes, so nobody has to ask. On
    the complete graph of N nodes, one pair shrinks the replicas' variance by 1 - 1 / (N - 1) in
    expectation. MATCHA decomposes the graph into fixed matchings, picks each of them at random,
    connecting ones more often, and gives all edges one weight that it works out; here edges are
    gone through in random order and each whose nodes are both free becomes a pair, of weight 1/2.

    Source:
        Wang et al., "MATCHA: Speeding Up Decentralized SGD via Matching Decomposition Sampling",
        2019, arXiv:1905.09435; Boyd et al., "Randomized Gossip Algorithms", IEEE Transactions on
        Information Theory 52 (2006) (pairwise averaging).
    """

    kind: Literal["matching_gossip"] = "matching_gossip"
    graph: Annotated[PeerGraph, OneOf("simbench.peer_graphs")] = CompleteGraph()
    """Who may form a pair; edges go both ways."""
    pairs: PositiveInt | None = None
    """Pairs at most; by default as many as come about before nobody free has a free neighbour."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    def check(self, num_workers: int) -> None:
        """Refuse a graph that doesn't fit or has edges of one direction."""
        self.graph.check("graph", num_workers)
        for step in range(self.graph.period(num_workers)):
            if not self.graph.round(num_workers, step).is_symmetric:
                raise misfit(("graph",), "pairs average, which wants edges that go both ways")

    def work(self, node: Node) -> Steps:
        """Step; exchange with the partner, if there is one."""
        done, state = node.resume(0, node.initial_state())
        copies = self.copies(node)
        for step in itertools.count(done + 1):
            state = node.step(state, (yield node.compute_gradient(state.parameters)))
            draw = int(node.shared_draw("matching", step).integers(2**63))
            now = self.graph.among(node.members_in(step), len(node.workers), step - 1)
            partner = now.matching(draw, self.pairs).get(node.rank)
            if partner is not None:
                x, tag = state.parameters, f"step {step}"
                node.send(partner, (yield from copies.encode(x, partner)), tag)
                mail = yield node.receive(tag, partner)
                if self.compression:
                    state = state.with_parameters(copies.meet(x, mail))
                elif mail is not None:  # else the partner has left
                    # Both add in the order of ranks: their sum is one Value.
                    both = [x, mail.body]
                    mean = node.mix(*(both if node.rank < partner else both[::-1]))
                    state = state.with_parameters(mean)
            node.publish(state.parameters, progress=step)
            yield from node.keep(step, state)
