"""What a simulation keeps alive, and what it refuses."""

import gc
from typing import ClassVar, Literal

import pytest

from simbench.execution.values import is_pending
from simbench.simulation import NoNumbersError, Simulation
from simbench.strategies.ad_psgd import ADPSGD
from simbench.strategies.async_local_sgd import AsyncLocalSGD
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.fedbuff import FedBuff
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategy import Strategy
from simbench.testing import run, small_scenario


class Watchful(Strategy):
    """Steps half as far once the gradient's first entry is small: it looks at numbers."""

    kind: Literal["watchful"] = "watchful"
    counts: ClassVar[Literal["steps", "updates"]] = "steps"

    @property
    def server_place(self):
        return None

    def work(self, node):
        state = node.initial_state()
        step = 0
        while True:
            gradient = yield node.compute_gradient(state.parameters)
            seen = yield node.observe(gradient)
            if abs(float(seen[0])) < 0.5:
                gradient = node.mix(gradient, weights=(0.5,))
            state = node.step(state, gradient)
            step += 1
            node.publish(state.parameters, step)


@pytest.mark.parametrize(
    "strategy",
    [
        ParameterServer(),
        ParameterServer(servers=2, combine="gradients"),
        Averaging(period=3),
        Asynchronous(),
        Asynchronous(servers=2),
        FedBuff(),
        AsyncLocalSGD(period=2),
        ADPSGD(),
    ],
    ids=str,
)
def test_what_is_live_does_not_grow_with_the_run(strategy):
    """Live is what somebody holds, not the chain of recipes behind it, computed or not."""
    simulation = Simulation(small_scenario(strategy), "law", 0)

    def live():
        gc.collect()
        return len(simulation.graph.live())

    for _ in range(4):
        simulation.advance()
    early = live()
    for _ in range(12):
        simulation.advance()
    assert live() <= early + 4
    # Nothing was computed, so the chain itself is longer than what is live.
    versions = list(simulation.versions)
    assert all(is_pending(version.recipe) for version in versions)


def test_a_strategy_may_look_at_numbers_while_training():
    outcome = run(small_scenario(Watchful()))
    assert outcome.summary["stuck"] is None
    assert outcome.evaluations[-1].loss < outcome.evaluations[0].loss / 10


def test_the_clock_alone_refuses_a_strategy_that_looks_at_numbers_in_words():
    simulation = Simulation(small_scenario(Watchful()), "law", 0)
    with pytest.raises(NoNumbersError, match=r"'law' looks at a number \(gradient\)"):
        simulation.advance()
