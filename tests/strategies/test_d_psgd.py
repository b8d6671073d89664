"""Decentralised parallel SGD: identities with all-reduce, and how fast graphs mix."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.star import Star as Switch
from simbench.peer_graphs.complete import CompleteGraph
from simbench.peer_graphs.edges import EdgesGraph
from simbench.peer_graphs.one_peer_exponential import OnePeerExponentialGraph
from simbench.peer_graphs.ring import RingGraph
from simbench.peer_graphs.star import StarGraph
from simbench.peer_graphs.torus import TorusGraph
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.averaging import Averaging
from simbench.strategies.d_psgd import DPSGD
from simbench.testing import MS, run, small_scenario

RATE = 0.1


def scenario(strategy, optimum, steps=12, rate=RATE, momentum=0.0, **model):
    return small_scenario(
        strategy,
        task=Task(
            model=Quadratic(dimension=1, optimum=tuple(optimum), **model),
            data=Gaussian(),
            optimizer=SGD(learning_rate=rate, momentum=momentum),
            dtype="float64",
        ),
        cluster=Cluster(nodes=len(optimum), machine=Fixed(step_time=10 * MS)),
        evaluate_every=1,
        stop=Stop(updates=steps),
    )


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_on_the_complete_graph_it_is_all_reduce_sgd_bit_for_bit(nodes):
    optimum, model = (-1.0, 0.5, 2.0, 3.0, 7.0)[:nodes], {"curvature": (1.0, 3.0), "noise": 0.5}
    gossip = DPSGD(graph=CompleteGraph(), order="adapt_then_combine")
    one, other = (
        run(scenario(each, optimum, momentum=0.9, **model)) for each in (gossip, Averaging())
    )
    assert [each.loss for each in one.evaluations] == [each.loss for each in other.evaluations]
    assert one.summary["parameters_sha256"] == other.summary["parameters_sha256"]


@pytest.mark.parametrize(
    "graph", [RingGraph(), StarGraph(), TorusGraph(), OnePeerExponentialGraph()], ids=str
)
def test_the_mean_of_the_replicas_is_gradient_descent_where_curvatures_are_equal(graph):
    optimum = np.array([-1.0, 0.0, 1.0, 4.0, 6.0, 2.0])
    for order in ("combine_then_adapt", "adapt_then_combine"):
        found = run(scenario(DPSGD(graph=graph, order=order), optimum)).evaluations
        x = optimum.mean() + (1 - RATE) ** np.arange(13) * (1 - optimum.mean())
        expected = ((x[:, None] - optimum) ** 2).mean(1) / 2
        np.testing.assert_allclose([each.loss for each in found], expected, rtol=1e-12)


@pytest.mark.parametrize("nodes", [3, 4, 7, 8])
def test_a_ring_mixes_at_a_third_and_two_thirds_of_the_cosine(replicas, nodes):
    """Optima along the slowest mode c_j = cos(2 pi j / n): so are the replicas, in closed form.

    e <- (lambda - lr) e + lr c in the paper's order, e <- lambda ((1 - lr) e + lr c) in the other.
    """
    mixing = 1 / 3 + 2 / 3 * math.cos(2 * math.pi / nodes)
    mode = np.cos(2 * math.pi * np.arange(nodes) / nodes)
    for order in ("combine_then_adapt", "adapt_then_combine"):
        found = replicas(scenario(DPSGD(order=order), mode))[:, :, 0]
        apart = 0.0
        for step, each in enumerate(found, start=1):
            if order == "combine_then_adapt":
                apart = (mixing - RATE) * apart + RATE
            else:
                apart = mixing * ((1 - RATE) * apart + RATE)
            np.testing.assert_allclose(each, (1 - RATE) ** step + apart * mode, atol=1e-12)


@pytest.mark.parametrize("nodes", [2, 4, 8])
def test_one_peer_exponential_graphs_forget_exactly_after_log2_n_rounds(replicas, nodes):
    """After tau rounds a difference is averaged away, so e_k rests on the last tau steps alone."""
    optimum = np.arange(nodes) ** 2.0
    strategy = DPSGD(graph=OnePeerExponentialGraph(), order="adapt_then_combine")
    found = replicas(scenario(strategy, optimum))[:, :, 0]
    apart = found - found.mean(axis=1, keepdims=True)
    tau = nodes.bit_length() - 1
    np.testing.assert_allclose(apart[tau - 1 : -tau], apart[2 * tau - 1 :], atol=1e-12)
    assert nodes == 2 or np.abs(apart[-1]).max() > 0.01


def test_the_papers_order_hides_the_transfers_behind_the_gradient():
    """Each of 4 on a ring sends 2 x 20 kB over 20 Mbit/s: 16 ms beside, or after, 20 ms."""
    for order, step_ns in (("combine_then_adapt", 20 * MS), ("adapt_then_combine", 38 * MS)):
        world = small_scenario(
            DPSGD(order=order),
            cluster=Cluster(nodes=4, machine=Fixed(step_time=20 * MS, jitter=Constant())),
            network=Switch(bandwidth=20 * 10**6, latency=2 * MS),
            stop=Stop(updates=5),
        )
        simulation = Simulation(world, "law", seed=0)
        while simulation.advance():
            pass
        assert [each.time_ns for each in simulation.updates] == pytest.approx(
            [step_ns * k for k in range(1, 6)], abs=10
        )


@pytest.mark.parametrize(
    ("graph", "key", "message"),
    [
        (EdgesGraph(edges=((0, 1), (1, 2), (2, 0), (0, 2)), directed=True), "graph", "both ways"),
        (EdgesGraph(edges=((0, 1),)), "graph", "node 2 never hears of node 0"),
        (EdgesGraph(edges=((0, 3),)), "graph.edges.0", "node 3 doesn't exist"),
        (TorusGraph(rows=2), "graph.rows", "3 nodes don't fill 2 equal rows"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(graph, key, message):
    with pytest.raises(ValidationError, match=message) as caught:
        scenario(DPSGD(graph=graph), (0.0, 1.0, 2.0))
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == f"strategies.law.{key}"
