"""AD-PSGD: pairs keep the sum, nobody waits in a circle, and the mean learns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.execution.threads import ThreadExecutor
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.peer_graphs.edges import EdgesGraph
from simbench.peer_graphs.exponential import ExponentialGraph
from simbench.peer_graphs.ring import RingGraph
from simbench.peer_graphs.star import StarGraph
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.ad_psgd import ADPSGD
from simbench.strategies.averaging import Averaging
from simbench.testing import MS, run, small_scenario


def scenario(strategy, workers, count=60, jitter=None, **changes):
    return small_scenario(
        strategy,
        **{
            "task": Task(
                model=Quadratic(dimension=4, optimum=(-1.0, 0.0, 4.0), noise=0.2),
                data=Gaussian(),
                batch_size=1,
                optimizer=SGD(learning_rate=0.1),
                dtype="float64",
            ),
            "cluster": Cluster(
                nodes=workers, machine=Fixed(step_time=10 * MS, jitter=jitter or Exponential())
            ),
            "evaluate_every": 1,
            "stop": Stop(updates=count),
            **changes,
        },
    )


def published(each):
    """Return what nodes publish, in turn: (rank, replica, whether it trained), and the mean's."""
    simulation, log = Simulation(each, "law", each.seeds[0]), []
    record = simulation.world.publish

    def note(rank, model, progress, contributor, staleness, batches):
        log.append((rank, model.recipe, batches != 0))
        record(rank, model, progress, contributor, staleness, batches)

    simulation.world.publish = note
    versions = [(0, simulation.versions.popleft())]
    while simulation.advance():
        versions += [(len(log), simulation.versions.popleft())]
    executor = ThreadExecutor(1)
    try:
        numbers = [
            (rank, executor.start(recipe).result().numpy(), trained)
            for rank, recipe, trained in log
        ]
        losses = [
            (place, executor.start(version.recipe).result()["loss"]) for place, version in versions
        ]
    finally:
        executor.close()
    return numbers, losses


@pytest.mark.parametrize("network", [Instant(), Star(bandwidth=10**6, latency=3 * MS)])
def test_every_averaging_keeps_the_sum_of_the_two(network):
    log, _ = published(scenario(ADPSGD(), 5, network=network))
    replicas = dict.fromkeys(range(5), np.ones(4))
    asked, averagings = {}, 0
    for rank, x, trained in log:
        if not trained and rank % 2:
            # Somebody has sent its replica and keeps it as it is until the mean is back.
            asked.setdefault(x.tobytes(), []).append(replicas[rank])
        elif not trained:
            other = asked[x.tobytes()].pop(0)
            np.testing.assert_allclose(2 * x, replicas[rank] + other, rtol=1e-14, atol=1e-14)
            averagings += 1
        replicas[rank] = x
    assert averagings > 20


def test_what_is_evaluated_is_the_mean_of_the_latest_replicas():
    each = scenario(ADPSGD(), 3, network=Star(bandwidth=10**5, latency=7 * MS))
    log, losses = published(each)
    optima = np.array([-1.0, 0.0, 4.0])
    assert len(losses) == 1 + 60 // 3
    for place, loss in losses:
        replicas = dict.fromkeys(range(3), np.ones(4)) | {rank: x for rank, x, _ in log[:place]}
        mean = np.mean(list(replicas.values()), axis=0)
        expected = ((mean[:, None] - optima) ** 2 / 2).mean(1).sum()
        assert loss == pytest.approx(expected, rel=1e-12)


def test_no_mean_of_all_is_made_of_what_is_not_evaluated():
    each = scenario(ADPSGD(), 6, count=300, evaluate_every=25)
    simulation = Simulation(each, "law", 0)
    sizes, mix = [], simulation.world.training.mix

    def note(vectors, weights, home):
        sizes.append(len(vectors))
        return mix(vectors, weights, home)

    simulation.world.training.mix = note
    while simulation.advance():
        pass
    assert sizes.count(6) == len(simulation.versions) - 1 == 2


def test_averaging_costs_no_time_where_it_is_faster_than_a_gradient():
    """Steps of 10 ms, an exchange of 2 x (1 + 1) ms beside them."""
    star = Star(bandwidth=8 * 32 * 1000, latency=1 * MS)
    found = run(scenario(ADPSGD(), 2, jitter=Constant(), network=star, count=20))
    assert [each.time_ns for each in found.updates] == [
        10 * MS * (1 + step) for step in range(10) for _ in range(2)
    ]


@given(
    st.integers(1, 7),
    st.sampled_from([LogNormal(sigma=2.0), Exponential(), Constant()]),
    st.floats(1, 30),
    st.sampled_from([Instant(), Star(bandwidth=10**4, latency=50 * MS)]),
    st.integers(0, 1000),
)
@settings(max_examples=25)
def test_it_never_hangs_and_everybody_goes_on(workers, jitter, slowdown, network, seed):
    cluster = Cluster(
        nodes=workers,
        machine=Fixed(step_time=10 * MS, jitter=jitter),
        stragglers=(Persistent(nodes=(workers - 1,), slowdown=slowdown),),
    )
    changes = {"cluster": cluster, "network": network, "seeds": (seed,)}
    simulation = Simulation(scenario(ADPSGD(), workers, 40 * workers, **changes), "law", seed)
    while simulation.advance():
        pass
    assert simulation.ended_by == "updates", simulation.who_waits()


def test_it_comes_to_the_optimum_of_all_whatever_the_jitter():
    """One node's optimum is elsewhere; without noise the mean goes near that of all, 3."""
    task = Task(
        model=Quadratic(dimension=1, optimum=(2.0, 2.0, 2.0, 6.0)),
        data=Gaussian(),
        batch_size=1,
        optimizer=SGD(learning_rate=0.02),
        dtype="float64",
    )
    common = {"task": task, "evaluate_every": 100, "network": Instant()}
    found = run(scenario(ADPSGD(), 4, count=2400, **common)).evaluations
    best = (3 * 1.0**2 + 3.0**2) / 4 / 2
    assert found[0].loss == best + 2.0**2 / 2
    assert found[-1].loss == pytest.approx(best, rel=0.01)


def test_one_worker_trains_alone():
    ours, alone = (run(scenario(each, 1)).evaluations for each in (ADPSGD(), Averaging()))
    assert ours == alone


@pytest.mark.parametrize(
    ("graph", "workers", "reason"),
    [
        (StarGraph(), 4, "node 2 never hears of node 0"),
        (ExponentialGraph(), 8, "edges that go both ways"),
        (EdgesGraph(edges=((0, 2), (1, 2))), 3, "node 1 never hears of node 0"),
    ],
    ids=str,
)
def test_a_graph_that_pairs_of_both_kinds_do_not_connect_is_refused(graph, workers, reason):
    with pytest.raises(ValidationError, match=reason):
        scenario(ADPSGD(graph=graph), workers)


@pytest.mark.parametrize("workers", [4, 5])
def test_a_ring_will_do_whether_it_closes_or_not(workers):
    assert run(scenario(ADPSGD(graph=RingGraph()), workers)).summary["stuck"] is None
