"""Stochastic gradient push: the exact mean on any directed graph."""

import numpy as np
import pytest

from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.peer_graphs.edges import EdgesGraph
from simbench.peer_graphs.one_peer_exponential import OnePeerExponentialGraph
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.averaging import Averaging
from simbench.strategies.push_sum import PushSum
from simbench.testing import run, small_scenario

UNEVEN = EdgesGraph(edges=((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (0, 3)), directed=True)
OPTIMUM = (-1.0, 0.5, 2.0, 8.0)


def scenario(strategy, steps, rate, curvature=1.0):
    return small_scenario(
        strategy,
        task=Task(
            model=Quadratic(dimension=1, optimum=OPTIMUM, curvature=(curvature,)),
            data=Gaussian(),
            optimizer=SGD(learning_rate=rate),
            dtype="float64",
        ),
        cluster=Cluster(nodes=4, machine=Fixed()),
        evaluate_every=1,
        stop=Stop(updates=steps),
    )


def test_each_replica_follows_the_equations_of_algorithm_1(replicas):
    p = np.array([[1, 0, 0, 2], [1, 2, 0, 0], [1, 2, 2, 0], [1, 0, 2, 2]]) / 4
    assert (p.sum(0) == 1).all()
    x, w = np.ones(4), np.ones(4)
    for found in replicas(scenario(PushSum(graph=UNEVEN), steps=15, rate=0.3)):
        x, w = p @ (x - 0.3 * (x / w - OPTIMUM)), p @ w
        np.testing.assert_allclose(found[:, 0], x, rtol=1e-12)
    assert np.ptp(w) > 0.5


def test_on_a_directed_graph_every_node_ends_at_the_exact_mean(replicas):
    """A step that hardly ends: z_i of all are the mean of the optima, however uneven the graph."""
    found = replicas(scenario(PushSum(graph=UNEVEN), steps=500, rate=0.02))[-1, :, 0]
    p = np.array([[1, 0, 0, 2], [1, 2, 0, 0], [1, 2, 2, 0], [1, 0, 2, 2]]) / 4
    w = np.linalg.matrix_power(p, 500) @ np.ones(4)
    # The replicas stay apart by no more than the rate, their mean is pulled by the limit of w.
    np.testing.assert_allclose(found / w, np.mean(OPTIMUM), atol=0.1)
    assert abs(found.mean() - np.mean(OPTIMUM)) < 0.05


def test_on_a_regular_graph_the_mean_is_that_of_all_reduce_sgd():
    one, other = (
        [each.loss for each in run(scenario(strategy, 12, 0.3)).evaluations]
        for strategy in (PushSum(graph=OnePeerExponentialGraph()), Averaging())
    )
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_message_carries_the_parameters_and_8_bytes_of_weight():
    simulation = Simulation(scenario(PushSum(), 3, 0.1), "law", seed=0)
    while simulation.advance():
        pass
    assert {each.num_bytes for each in simulation.world.messages} == {8 + 8}
    assert simulation.world.mailboxes[0].unread == []


def test_a_graph_that_is_cut_is_refused():
    with pytest.raises(ValueError, match="node 0 never hears of node 1"):
        scenario(PushSum(graph=EdgesGraph(edges=((0, 1), (0, 2), (0, 3)), directed=True)), 1, 0.1)
