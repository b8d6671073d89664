"""Averaging with one peer at a time, on an exponential graph."""

import itertools
from typing import ClassVar, Literal

from pydantic import PositiveInt

from simbench.node import Node, Steps
from simbench.strategy import Strategy


class OnePeer(Strategy):
    """Every ``period`` steps, send to one node, hear from another, go on from the mean of the two.

    The peer of exchange k stands 2^(k mod tau) places further on, with tau = ceil(log2 N): after
    tau exchanges every node has heard, directly or not, from every other. Without steps between
    them, and for N a power of two, all nodes then hold the exact mean.

    Source:
        Ying et al., "Exponential Graph is Provably Efficient for Decentralized Deep Training",
        NeurIPS 2021, arXiv:2110.13363 (one-peer exponential graph, parallel SGD on it).
    """

    kind: Literal["one_peer"] = "one_peer"
    period: PositiveInt = 1
    """Local steps from one exchange to the next."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Train alone; every ``period`` steps, pass the parameters on and average."""
        num_nodes = len(node.workers)
        tau = max(1, (num_nodes - 1).bit_length())
        state = node.initial_state()
        for step in itertools.count(1):
            gradient = yield node.compute_gradient(state.parameters)
            state = node.step(state, gradient)
            exchange, rest = divmod(step, self.period)
            if not rest:
                peer = (node.rank + 2 ** ((exchange - 1) % tau)) % num_nodes
                # The tag keeps a fast node's next message apart from a slow node's last.
                node.send(peer, state.parameters, tag=f"exchange {exchange}")
                mail = yield node.receive(f"exchange {exchange}")
                state = state.with_parameters(node.mix(state.parameters, mail.body))
            node.publish(state.parameters, progress=step)
