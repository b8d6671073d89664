"""AdaComm: local SGD that averages the more often the lower the loss has become."""

import itertools
import math
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from simbench.execution.values import Value
from simbench.learning.operations import LossNumber
from simbench.node import Node, Steps
from simbench.strategy import Strategy


class AdaComm(Strategy):
    """Average every tau steps; at the end of each ``interval``, a new tau from the training loss.

    With F_l the loss of the averaged model at the end of interval l, and tau_0 = ``period``,

        tau_l = ceil(sqrt(F_l / F_0) tau_0)   if that is less than tau_{l-1}
        tau_l = ceil(gamma tau_{l-1})         else

    F is the mean of what all workers' next batches tell at the averaged parameters, which they
    find out in one all-reduce of one number. It looks at that number, so it can't be planned. An
    interval ends with the first averaging at or after so many steps: the paper's ends after so many
    seconds, which would make what is computed depend on the network. The learning rate is constant:
    where it falls, the paper has its ratio under the root as well.

    Source:
        Wang, Joshi, "Adaptive Communication Strategies to Achieve the Best Error-Runtime Trade-off
        in Local-Update SGD", SysML 2019, arXiv:1810.08313, section 4: the basic rule, and its
        refinement for a loss that doesn't fall, with gamma = 1/2.
    """

    kind: Literal["adacomm"] = "adacomm"
    period: PositiveInt = 16
    """tau_0, the local steps from one averaging to the next at first."""
    interval: PositiveInt = 32
    """Local steps from one choice of tau to the next."""
    gamma: float = Field(default=0.5, gt=0, le=1)
    """What tau is multiplied by where the loss doesn't make it shorter."""

    counts: ClassVar[Literal["steps", "updates"]] = "steps"
    resumes: ClassVar[bool] = True

    @property
    def server_place(self) -> None:
        """There is no server."""
        return None

    def work(self, node: Node) -> Steps:
        """Train alone, average every tau steps, choose tau anew after each interval."""
        # What it goes by: the first loss, tau, the next averaging and the next choice.
        plan = math.nan, self.period, self.period, self.interval
        done, state, plan = node.resume(0, node.initial_state(), plan)
        first, period, next_averaging, next_choice = plan
        if not done:
            first = yield from self._loss(node, state.parameters)
        for step in itertools.count(done + 1):
            state = node.step(state, (yield node.compute_gradient(state.parameters)))
            averages = step == next_averaging
            if averages:
                state = state.with_parameters((yield node.all_reduce(state.parameters)))
            node.publish(state.parameters, progress=step)
            if averages:
                if step >= next_choice:
                    loss = yield from self._loss(node, state.parameters)
                    period = self._next_period(period, loss, first)
                    next_choice = (step // self.interval + 1) * self.interval
                next_averaging = step + period
            plan = first, period, next_averaging, next_choice
            yield from node.keep(step, state, plan)

    def _loss(self, node: Node, parameters: Value) -> Steps:
        """Return the loss at ``parameters``, which all workers share, over all next batches."""
        mean = yield node.all_reduce(node.loss_of_next_batch(parameters), tag="loss")
        return (yield node.observe(node.apply(LossNumber(), mean)))

    def _next_period(self, period: int, loss: float, first: float) -> int:
        # No root of what noise has made negative; what isn't a number compares as false.
        share = max(loss / first, 0.0) if first > 0 else math.inf
        shorter = math.sqrt(share) * self.period
        return (
            max(1, math.ceil(shorter)) if shorter <= period - 1 else math.ceil(self.gamma * period)
        )
