"""Stochastic gradient push: gossip on a directed graph, unbiased by a weight that travels along."""

import itertools
from typing import Annotated, ClassVar, Literal

from simbench.node import Node, Steps
from simbench.peer_graph import PeerGraph
from simbench.peer_graphs.one_peer_exponential import OnePeerExponentialGraph
from simbench.spec import OneOf
from simbench.strategy import Strategy


class PushSum(Strategy):
    """Nodes hold x_i and a weight w_i, at first 1; their model is z_i = x_i / w_i.

    x_i' = x_i - lr g_i(z_i), then x_i <- sum_j p_ij x_j' and w_i <- sum_j p_ij w_j over those that
    i hears from and itself. A node gives the same share p_ij = 1 / (1 + its receivers) of both to
    each of them and keeps as much, so every column of P sums to 1 and the mean of all x_i moves by
    the mean step alone, whatever the graph. It is x_i that is published, so what is evaluated is
    that mean; each z_i tends to it.

    Source:
        Assran et al., "Stochastic Gradient Push for Distributed Deep Learning", ICML 2019,
        arXiv:1811.10792, algorithm 1.
    """

    kind: Literal["push_sum"] = "push_sum"
    graph: Annotated[PeerGraph, OneOf("simbench.peer_graphs")] = OnePeerExponentialGraph()
    """Who sends to whom."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def check(self, num_workers: int) -> None:
        """Refuse a graph that doesn't fit."""
        self.graph.check("graph", num_workers)

    def work(self, node: Node) -> Steps:
        """Step at z, push shares of x and w, add up what comes."""
        done, state, w = node.resume(0, node.initial_state(), 1.0)
        for step in itertools.count(done + 1):
            z = node.mix(state.parameters, weights=(1 / w,))
            state = node.step(state, (yield node.compute_gradient(z)))
            now = self.graph.among(node.members_in(step), len(node.workers), step - 1)
            tag = f"step {step}"
            share = now.share(node.rank)
            pushed = node.mix(state.parameters, weights=(share,))
            for peer in now.sends[node.rank]:
                node.send(peer, pushed, tag, number=share * w)
            mails = yield from node.receive_from_each(now.receives[node.rank], tag)
            came = [pushed, *(mail.body for mail in mails)]
            state = state.with_parameters(node.mix(*came, weights=[1.0] * len(came)))
            w = share * w + sum(mail.number for mail in mails)
            model = state.parameters
            if self.on_failure.goes_on:
                # Who leaves takes its weight along: then only z is a model.
                model = node.mix(model, weights=(1 / w,))
            node.publish(model, progress=step)
            yield from node.keep(step, state, w)
