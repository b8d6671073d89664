"""What each node holds after each step, which records don't tell: they hold the mean of all."""

import numpy as np
import pytest

from simbench.execution.threads import ThreadExecutor
from simbench.simulation import Simulation


def _replicas(scenario, seed=0):
    simulation = Simulation(scenario, next(iter(scenario.strategies)), seed)
    published = {}

    def note(rank, model, progress, *_):
        published[progress, rank] = model.recipe

    record, world = simulation.world.publish, simulation.world
    world.publish = lambda *each: (note(*each), record(*each))
    while simulation.advance():
        pass
    executor = ThreadExecutor(1)
    try:
        nodes, steps = scenario.cluster.nodes, scenario.stop.updates
        return np.array(
            [
                [executor.start(published[k, rank]).result().numpy() for rank in range(nodes)]
                for k in range(1, steps + 1)
            ]
        )
    finally:
        executor.close()


@pytest.fixture(scope="session")
def replicas():
    """Run a scenario; return all replicas, of shape (steps, nodes, dimension)."""
    return _replicas
