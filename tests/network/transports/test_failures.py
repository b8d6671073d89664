"""Failures under every transport: nothing is lost, nobody hangs, and times are repeatable."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.condition_laws import check_books, play
from simbench.conditions.link_failures import LinkFailures
from simbench.conditions.node_failure import NodeFailure
from simbench.conditions.node_failures import NodeFailures
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.task import Task
from simbench.network.topologies.ring import Ring
from simbench.network.topologies.star import Star
from simbench.network.transports.ideal import Ideal
from simbench.network.transports.lv08 import LV08
from simbench.network.transports.rdma import RDMA
from simbench.network.transports.tcp import TCP
from simbench.scenario import Scenario, Stop
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

SECOND = 10**9
STRATEGIES = {
    "asynchronous": Asynchronous(),
    "averaging": Averaging(),
    "overlapped": Averaging(combine="gradients", bucket=50_000),
    "parameter server": ParameterServer(server=0),
}


def scenario(transport, conditions, topology=Star, seed=0):
    return Scenario(
        name="failing",
        task=Task(model=Quadratic(dimension=25_000), data=Gaussian()),
        cluster=Cluster(nodes=4, machine=Fixed(step_time=SECOND // 10)),
        network=topology(bandwidth=10**7, latency=10**7, transport=transport),
        conditions=conditions,
        strategies=STRATEGIES,
        stop=Stop(virtual_time=40 * SECOND),
        seeds=(seed,),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "transport", [Ideal(), TCP(), TCP(warm=True), LV08(), RDMA()], ids=lambda each: each.kind
)
@settings(max_examples=5)
@given(topology=st.sampled_from([Star, Ring]), seed=st.integers(0, 2**20))
def test_random_failures_lose_nothing_and_stop_nobody_for_ever(transport, strategy, topology, seed):
    conditions = (
        NodeFailures(mean_time_between_failures=5 * SECOND, mean_time_to_repair=SECOND),
        LinkFailures(mean_time_between_failures=3 * SECOND, mean_time_to_repair=SECOND // 2),
    )
    asked = scenario(transport, conditions, topology, seed)

    simulation = play(asked, strategy)

    assert simulation.ended_by == "virtual_time"
    check_books(simulation)
    assert simulation.updates, "there is progress between failures"
    again = play(asked, strategy)
    assert again.messages_until(again.end_ns) == simulation.messages_until(simulation.end_ns)


@pytest.mark.parametrize("strategy", ["averaging", "parameter server"])
@pytest.mark.parametrize("transport", [TCP(), LV08(), RDMA()], ids=lambda each: each.kind)
def test_who_waits_for_a_node_that_never_returns_is_told(transport, strategy):
    simulation = play(scenario(transport, (NodeFailure(nodes=(2,), at=SECOND),)), strategy)

    assert simulation.ended_by == "stuck"
    assert simulation.end_ns < 10 * SECOND
    assert "node 2 is down for ever" in simulation.who_waits()


def test_a_connection_that_is_cut_in_the_middle_sends_all_again():
    """Node 1's push is cut half way, and starts anew when node 0 is back, a second later."""
    transport = TCP(warm=True, drift=0.0, acknowledgement=0)
    failing = scenario(transport, (NodeFailure(nodes=(0,), at=SECOND, until=2 * SECOND),))

    simulation = play(failing, "parameter server")

    messages = simulation.messages_until(simulation.end_ns)
    hit = [each for each in messages if each.sent_ns < SECOND < (each.arrived_ns or 0)]
    assert hit, "something was under way"
    assert all(each.arrived_ns > 2 * SECOND for each in hit)
    check_books(simulation)
