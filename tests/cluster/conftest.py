"""A task that costs nothing on a network that costs nothing: what is left is the machines' time."""

import numpy as np
import pytest

from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.scenario import Scenario, Stop
from simbench.simulation import Simulation


@pytest.fixture(scope="session")
def update_times():
    """Run the clock of a strategy on a cluster; return when each update was made, in ns."""

    def run(cluster, strategy, seed=0, **stop):
        scenario = Scenario(
            name="machines",
            task=Task(model=Quadratic(), data=Gaussian(), batch_size=1),
            cluster=cluster,
            network=Instant(),
            strategies={"only": strategy},
            # Nothing is evaluated, so nothing needs to be kept.
            evaluate_every=10**6,
            stop=Stop(**stop),
        )
        simulation = Simulation(scenario, "only", seed)
        while simulation.advance():
            pass
        return np.array([update.time_ns for update in simulation.updates])

    return run


@pytest.fixture(scope="session")
def agrees():
    """Compare the mean of a sample with theory: within 1 % or 4 standard errors."""

    def check(sample, expected):
        error = 4 * np.std(sample) / len(sample) ** 0.5
        assert np.mean(sample) == pytest.approx(expected, abs=max(0.01 * expected, error))

    return check
