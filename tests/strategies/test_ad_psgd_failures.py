"""AD-PSGD whose workers fail and join: nobody waits for ever, the sum of a pair is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.conditions.late_join import LateJoin
from simbench.conditions.node_failure import NodeFailure
from simbench.execution.threads import ThreadExecutor
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.peer_graphs.complete import CompleteGraph
from simbench.peer_graphs.edges import EdgesGraph
from simbench.peer_graphs.ring import RingGraph
from simbench.policies.go_on import GoOn
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.ad_psgd import ADPSGD
from simbench.testing import MS, run, small_scenario

SLOW = Star(bandwidth=8 * 10**4, latency=3 * MS)
"""It carries the 32 bytes of a replica in 3.2 ms and 3 more."""


def scenario(
    workers, *conditions, detection=20 * MS, graph=None, jitter=None, optimum=None, **changes
):
    strategy = ADPSGD(graph=graph or CompleteGraph(), on_failure=GoOn(detection=detection))
    return small_scenario(
        strategy,
        **{
            "task": Task(
                model=Quadratic(dimension=4, optimum=optimum or tuple(map(float, range(workers)))),
                data=Gaussian(),
                batch_size=1,
                optimizer=SGD(learning_rate=0.05),
                dtype="float64",
            ),
            "cluster": Cluster(
                nodes=workers, machine=Fixed(step_time=10 * MS, jitter=jitter or Exponential())
            ),
            "network": SLOW,
            "conditions": conditions,
            "stop": Stop(virtual_time=1000 * MS),
            **changes,
        },
    )


def played(each):
    simulation = Simulation(each, "law", each.seeds[0])
    while simulation.advance():
        pass
    return simulation


def outages(num_workers):
    """Draw who is down from when to when: some overlap, and some are over before they are told."""
    one = st.tuples(
        st.integers(0, num_workers - 1),
        # On the whole steps, too, which then begin and end at the very moment.
        st.one_of(st.integers(1, 600 * MS), st.integers(1, 60).map(lambda step: step * 10 * MS)),
        st.one_of(st.integers(1, 150 * MS), st.integers(1, 15).map(lambda step: step * 10 * MS)),
    )
    return st.lists(one, max_size=6)


@given(
    st.integers(1, 6).flatmap(lambda workers: st.tuples(st.just(workers), outages(workers))),
    st.sampled_from([0, 5 * MS, 40 * MS]),
    st.sampled_from([CompleteGraph(), RingGraph()]),
    st.sampled_from([Exponential(), Constant()]),
    st.sampled_from([Instant(), SLOW]),
    st.integers(0, 1000),
)
@settings(max_examples=40)
def test_whoever_fails_whenever_nobody_waits_for_ever(
    failures, detection, graph, jitter, network, seed
):
    workers, found = failures
    conditions = [
        NodeFailure(nodes=(rank,), at=at, until=at + length) for rank, at, length in found
    ]
    each = scenario(
        workers,
        *conditions,
        detection=detection,
        graph=graph,
        jitter=jitter,
        network=network,
        seeds=(seed,),
    )
    simulation = played(each)
    assert simulation.ended_by == "virtual_time", simulation.who_waits()
    # All have been up for a while, and each of them is at it again.
    busy = {update.node for update in simulation.updates if update.time_ns > 850 * MS}
    assert busy == set(range(workers)), simulation.who_waits()
    assert not simulation.world.dropped.keys() & simulation.world.arrivals.keys()
    events = simulation.events_until(simulation.end_ns)
    for rank in range(workers):
        what = [h.what for h in events if h.subject == f"node {rank}" and h.kind == "membership"]
        assert what.count("left") <= what.count("restored")
        assert simulation.world.membership.takes_part(rank, 1)


def test_who_is_asked_while_it_waits_itself_answers_and_the_sum_is_kept():
    """Node 0 goes; so nodes 1 and 3, passive before, ask node 2, which waits for one of them."""
    each = scenario(
        4,
        NodeFailure(nodes=(0,), at=1),
        detection=5 * MS,
        jitter=Constant(),
        network=Star(bandwidth=8 * 10**4, latency=30 * MS),
        optimum=(0.0, 3.0, 7.0, 12.0),
    )
    simulation, log = Simulation(each, "law", 0), []
    record = simulation.world.publish

    def note(rank, model, progress, contributor, staleness, batches):
        log.append((rank, model.recipe, batches != 0))
        record(rank, model, progress, contributor, staleness, batches)

    simulation.world.publish = note
    while simulation.advance():
        pass
    asked = [(m.sender, m.receiver) for m in simulation.world.messages if m.tag == "average"]
    assert asked[1:4] == [(2, 1), (1, 2), (3, 2)]
    executor = ThreadExecutor(1)
    try:
        numbers = [(r, executor.start(x).result().numpy(), trained) for r, x, trained in log]
    finally:
        executor.close()
    replicas, moved, sums = [np.ones(4)] * 4, np.zeros(4), []
    for rank, x, trained in numbers:
        if not trained:
            moved = moved + x - replicas[rank]
            sums.append(np.abs(moved).max())
        replicas[rank] = x
    # Three answers, and three means that come back.
    assert max(sums[:5]) > 1e-2
    assert sums[5] < 1e-13


def test_the_model_is_the_mean_of_those_who_are_there():
    """After both others have left, it is node 1's replica, whose optimum is 1."""
    gone = NodeFailure(nodes=(0, 2), at=200 * MS)
    evaluations = run(scenario(3, gone, stop=Stop(virtual_time=3000 * MS))).evaluations

    # The mean of (1 - c)^2 / 2 over c = 0, 1, 2, in four dimensions.
    assert evaluations[-1].loss == pytest.approx(4 / 3, rel=1e-6)


@pytest.mark.parametrize(
    "graph", [None, RingGraph(), EdgesGraph(edges=((0, 1), (1, 2), (2, 3), (3, 0)))], ids=str
)
def test_it_learns_what_all_want_though_each_fails_once(graph):
    conditions = [
        NodeFailure(nodes=(rank,), at=(100 + 150 * rank) * MS, until=(180 + 150 * rank) * MS)
        for rank in range(4)
    ]
    late = LateJoin(nodes=(3,), at=50 * MS)
    each = scenario(
        4, late, *conditions, graph=graph, jitter=Constant(), stop=Stop(virtual_time=4000 * MS)
    )
    outcome = run(each)

    # At the optimum 1.5 of all: the mean of (1.5 - c)^2 / 2 over c = 0 to 3, in four dimensions.
    assert outcome.evaluations[-1].loss == pytest.approx(2.5, rel=0.01)
    assert outcome.summary["left"] == outcome.summary["restored"] == 5
    state = [m for m in outcome.messages if m.tag == "state" and m.arrived_ns]
    assert len(state) == 5
    assert {m.num_bytes for m in state} == {32}
    assert all(m.arrived_ns - m.sent_ns >= 6.2 * MS for m in state)


def test_a_neighbour_hands_over_its_replica():
    """On a ring of 6; nodes 0, 1 and 5 end steps before nodes 2 and 4 do, and leave it to them."""
    machine = Fixed(step_time=10 * MS, jitter=Constant())
    slow = Persistent(nodes=(2, 4), slowdown=7)
    cluster = Cluster(nodes=6, machine=machine, stragglers=(slow,))
    each = scenario(6, LateJoin(nodes=(3,), at=143 * MS), graph=RingGraph(), cluster=cluster)
    simulation = played(each)
    state = [m for m in simulation.world.messages if m.tag == "state"]
    assert [(m.sender, m.receiver) for m in state] == [(2, 3)]
    assert state[0].sent_ns >= 150 * MS


def test_two_of_one_kind_that_are_left_still_average():
    """Nodes 0 and 2 are both active while node 1 is there."""
    gone = NodeFailure(nodes=(1,), at=200 * MS)
    simulation = played(scenario(3, gone))
    last = [m for m in simulation.world.messages if m.tag == "average" and m.sent_ns > 300 * MS]
    assert len(last) > 20
    assert {(m.sender, m.receiver) for m in last} == {(0, 2)}
