"""Stochastic gradient push: gossip on a directed graph, unbiased by a weight that travels along."""

import itertools
from typing import Annotated, ClassVar, Literal

from simbench.node import Node, Steps
from simbench.peer_graph import PeerGraph
from simbench.peer_graphs.one_peer_exponential import OnePeerExponentialGraph
from simbench.spec import OneOf
from simbench.strategy import GossipStrategy


class PushSum(GossipStrategy):
    """Nodes hold x_i and a weight w_i, at first 1; their model is z_i = x_i / w_i.

    x_i' = x_i - lr g_i(z_i), then x_i <- sum_j p_ij x_j' and w_i <- sum_j p_ij w_j over those that
    i hears from and itself. A node gives the same share p_ij = 1 / (1 + its receivers) of both to
    each of them and keeps as much, so every column of P sums to 1 and the mean of all x_i moves by
    the mean step alone, whatever the graph. It is x_i that is published, so what is evaluated is
    that mean; each z_i tends to it.

    With a ``compression`` only part of a share gets through, of weights as of parameters
    (``simbench.public_copies``); w_i are numbers and sent as they are.

    Source:
        Assran et al., "Stochastic Gradient Push for Distributed Deep Learning", ICML 2019,
        arXiv:1811.10792, algorithm 1.
    """

    kind: Literal["push_sum"] = "push_sum"
    graph: Annotated[PeerGraph, OneOf("simbench.peer_graphs")] = OnePeerExponentialGraph()
    """Who sends to whom."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    def check(self, num_workers: int) -> None:
        """Refuse a graph that doesn't fit."""
        self.graph.check("graph", num_workers)

    def work(self, node: Node) -> Steps:
        """Step at z, push shares of x and w, add up what comes."""
        done, state, w = node.resume(0, node.initial_state(), 1.0)
        copies, gamma = self.copies(node), self.consensus_step_size or 1.0
        for step in itertools.count(done + 1):
            z = node.mix(state.parameters, weights=(1 / w,))
            state = node.step(state, (yield node.compute_gradient(z)))
            now = self.graph.among(node.members_in(step), len(node.workers), step - 1)
            tag = f"step {step}"
            peers, share = now.sends[node.rank], now.share(node.rank)
            x = state.parameters
            pushed = x if self.compression else node.mix(x, weights=(share,))
            for peer in peers:
                body = yield from copies.encode(pushed, peer)
                node.send(peer, body, tag, number=gamma * share * w)
            mails = yield from node.receive_from_each(now.receives[node.rank], tag)
            kept = share
            if self.compression:
                kept = 1 - gamma * share * len(peers)
                takes = {mail.sender: now.share(mail.sender) for mail in mails}
                x = copies.mix(x, mails, takes, dict.fromkeys(peers, share))
            else:
                came = [pushed, *(mail.body for mail in mails)]
                x = node.mix(*came, weights=[1.0] * len(came))
            state = state.with_parameters(x)
            w = kept * w + sum(mail.number for mail in mails)
            model = state.parameters
            if self.on_failure.goes_on:
                # Who leaves takes its weight along: then only z is a model.
                model = node.mix(model, weights=(1 / w,))
            node.publish(model, progress=step)
            yield from node.keep(step, state, w)
