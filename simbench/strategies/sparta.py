"""SPARTA: at every step, a few entries of the model, drawn anew, are averaged over all workers."""

import itertools
from typing import ClassVar, Literal

from pydantic import Field

from simbench.learning.operations_sparse import Choose, Replace, Select
from simbench.node import Node, Steps
from simbench.strategy import Strategy


class SPARTA(Strategy):
    """After each local step, average a random ``share`` p of the entries; the others stay.

    With n entries, S(t) a random subset of round(p n) of them, at least one, the same for all:

        theta_i[j] <- 1/N sum_k theta_k[j]   for j in S(t)

    What is sent is the chosen entries alone: which they are everybody draws from seed and step.
    Share 1 is all-reduce SGD by parameters.

    Source:
        Beton et al., "Improving the Efficiency of Distributed Training using Sparse Parameter
        Averaging", EXO Labs, 2025, openreview stFPf3gzq1, without its delay. There each entry is
        drawn by itself, with p = 0.0005 to 0.005; here their number is exact.
    """

    kind: Literal["sparta"] = "sparta"
    share: float = Field(default=0.005, gt=0, le=1)
    """p, the share of the entries that is averaged at each step."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Step, then average what was drawn for this step."""
        done, state = node.resume(0, node.initial_state())
        size = state.parameters.num_entries
        count = max(1, round(self.share * size))
        for step in itertools.count(done + 1):
            state = node.step(state, (yield node.compute_gradient(state.parameters)))
            draw = int(node.shared_draw("sparta", step).integers(2**63))
            which = node.apply(Choose(), arguments=(size, count, draw), num_bytes=8 * count)
            chosen = node.apply(Select(), state.parameters, which, num_entries=count)
            mean = yield node.all_reduce(chosen)
            state = state.with_parameters(node.apply(Replace(), state.parameters, which, mean))
            node.publish(state.parameters, progress=step)
            yield from node.keep(step, state)
