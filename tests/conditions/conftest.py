"""A world of two or more nodes whose links carry a byte in a nanosecond, and its conditions.

A vector has 100 bytes, so a message takes 107 ns alone: 7 of latency, and 100.
"""

import pytest

from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.averaging import Averaging

STAR = Star(bandwidth=8 * 10**9, latency=7)


@pytest.fixture
def world(stage):
    """Play generator functions as workers, with conditions, on vectors of 100 bytes."""

    def play(worker, *conditions, network=STAR, **settings):
        settings = {"dimension": 25, "network": network} | settings
        return stage(worker, conditions=conditions, **settings)

    return play


@pytest.fixture
def post(world):
    """Send one vector from node 0 to node 1 at 0; return the simulation when all is still."""

    def play(*conditions, sender=0, receiver=1, **settings):
        def worker(node):
            if node.rank == sender:
                node.send(receiver, node.initial_state().parameters, tag="news")
            elif node.rank == receiver:
                yield node.receive("news")
            yield from ()

        return world(worker, *conditions, **settings)

    return play


@pytest.fixture
def train(scenario):
    """Run the clock of one strategy to its end."""

    def play(*conditions, strategy=None, seed=0, updates=1, **settings):
        settings = {"dimension": 25, "network": STAR, "stop": Stop(updates=updates)} | settings
        simulation = Simulation(
            scenario(
                strategies={"only": strategy or Averaging()}, conditions=conditions, **settings
            ),
            "only",
            seed,
        )
        while simulation.advance():
            pass
        simulation.finish_instant(simulation.end_ns)
        return simulation

    return play
