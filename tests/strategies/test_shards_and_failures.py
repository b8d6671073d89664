"""Several servers whose workers, or whose own machines, fail: nobody waits for ever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.machines.fixed import Fixed
from simbench.conditions.late_join import LateJoin
from simbench.conditions.node_failure import NodeFailure
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.policies.go_on import GoOn
from simbench.policies.restart import Restart
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, run, small_scenario

SLOW = Star(bandwidth=8 * 10**4, latency=3 * MS)
"""It carries the 40 bytes of the parameters in 4 ms and 3 more; pieces are unequal."""

POLICIES = (
    GoOn(detection=0),
    GoOn(detection=30 * MS),
    Restart(detection=5 * MS, interval=0),
    Restart(detection=30 * MS, interval=80 * MS, cost=3 * MS, recovery=7 * MS),
)


def scenario(strategy, *conditions, jitter=None, network=SLOW, end=1500 * MS, seed=0):
    optimum = tuple(map(float, range(4)))
    return small_scenario(
        strategy,
        task=Task(
            model=Quadratic(dimension=5, optimum=optimum),
            data=Gaussian(),
            batch_size=1,
            optimizer=SGD(learning_rate=0.1),
            dtype="float64",
        ),
        cluster=Cluster(nodes=4, machine=Fixed(step_time=10 * MS, jitter=jitter or Exponential())),
        network=network,
        conditions=conditions,
        stop=Stop(virtual_time=end),
        seeds=(seed,),
    )


@given(
    st.sampled_from([ParameterServer, Asynchronous]),
    st.integers(2, 3),
    st.sampled_from(["own_machine", "colocated"]),
    st.sampled_from(POLICIES),
    st.lists(
        st.tuples(
            # On the whole steps, too; with three servers of their own, up to rank 6.
            st.integers(0, 6),
            st.one_of(st.integers(1, 500 * MS), st.integers(1, 50).map(lambda n: n * 10 * MS)),
            st.one_of(st.integers(1, 99 * MS), st.integers(1, 9).map(lambda n: n * 10 * MS)),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([Exponential(), Constant()]),
    st.sampled_from([Instant(), SLOW]),
    st.integers(0, 1000),
)
@settings(max_examples=40)
def test_whoever_fails_whenever_all_are_at_it_again(
    kind, servers, place, policy, failures, jitter, network, seed
):
    strategy = kind(servers=servers, server=place, on_failure=policy)
    machines = 4 + (servers if place == "own_machine" else 0)
    conditions = [
        NodeFailure(nodes=(rank % machines,), at=at, until=at + length)
        for rank, at, length in failures
    ]
    each = scenario(strategy, *conditions, jitter=jitter, network=network, seed=seed)
    simulation = Simulation(each, "law", seed)
    while simulation.advance():
        pass
    assert simulation.ended_by == "virtual_time", simulation.who_waits()
    assert simulation.updates[-1].time_ns > 1300 * MS, simulation.who_waits()
    busy = {rank for rank, _, end_ns in simulation.work if end_ns > 1200 * MS}
    assert busy >= set(range(4)), simulation.who_waits()
    numbers = [update.update for update in simulation.updates]
    assert numbers == sorted(set(numbers))
    assert not simulation.world.dropped.keys() & simulation.world.arrivals.keys()
    if not simulation.recovery.checkpoints:
        # Servers are waited for: only workers elsewhere leave.
        events = simulation.events_until(simulation.end_ns)
        left = {each.subject for each in events if each.what == "left"}
        assert not left & {f"node {rank}" for rank in simulation.servers}


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("place", ["own_machine", "colocated"])
def test_they_come_to_the_optimum_of_all_who_are_there_in_the_end(place, policy):
    conditions = [
        LateJoin(nodes=(2,), at=123 * MS),
        NodeFailure(nodes=(3,), at=155 * MS, until=255 * MS),
        NodeFailure(nodes=(1,), at=350 * MS, until=410 * MS),
        NodeFailure(nodes=(2,), at=375 * MS, until=480 * MS),
    ]
    strategy = ParameterServer(servers=2, server=place, on_failure=policy)
    outcome = run(scenario(strategy, *conditions, end=6000 * MS))

    # At 1.5, the mean of (1.5 - c)^2 / 2 over c = 0 to 3, in five dimensions.
    assert outcome.evaluations[-1].loss == pytest.approx(5 * 0.625, rel=1e-9)
    assert outcome.summary["joined"] > 0
    # Who joins is sent both pieces: 24 and 16 bytes, of one version, whoever is further.
    joins = [m for m in outcome.messages if m.tag == "join" and m.arrived_ns]
    assert {(m.receiver, m.num_bytes) for m in joins} == {
        (s, 0) for s in outcome.summary["servers"]
    }
