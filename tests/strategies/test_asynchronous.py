"""Asynchronous SGD behind one server: what that can serve, and the momentum of staleness."""

import json

import numpy as np
import pytest

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.conditions.late_join import LateJoin
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.graph import Graph
from simbench.network.topologies.instant import Instant
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.asynchronous import Asynchronous
from simbench.testing import MS, run, small_scenario

BYTES = 10_000


def described(workers, count, *, rate=1e-3, dimension=1, step_ns=10 * MS, jitter, **changes):
    return small_scenario(
        Asynchronous(),
        task=Task(
            model=Quadratic(dimension=dimension),
            data=Gaussian(),
            batch_size=1,
            optimizer=SGD(learning_rate=rate),
            dtype="float64",
        ),
        cluster=Cluster(
            nodes=workers,
            machine=Fixed(step_time=step_ns, jitter=jitter),
            stragglers=changes.pop("stragglers", ()),
        ),
        **{"network": Instant(), "stop": Stop(updates=count), "evaluate_every": count, **changes},
    )


def updates(scenario):
    """Return the updates of ``scenario`` without training."""
    simulation = Simulation(scenario, next(iter(scenario.strategies)), seed=0)
    while simulation.advance():
        pass
    return simulation.updates


@pytest.fixture
def one_way_in(tmp_path):
    """Make a network on which only what goes to the server takes time: ``BYTES`` take 10 ms."""

    def make(workers):
        def edge(one, other, rate):
            return {"source": one, "target": other, "bandwidth": rate, "latency": "0 ns"}

        fast = [edge(i, "door", "100 Tbit/s") for i in range(workers)]
        fast += [edge(workers, i, "100 Tbit/s") for i in range(workers)]
        nodes = [{"id": each} for each in [*range(workers + 1), "door"]]
        drawn = {
            "directed": True,
            "multigraph": False,
            "graph": {},
            "nodes": nodes,
            "edges": [*fast, edge("door", workers, f"{8 * BYTES // 10} kbit/s")],
        }
        file = tmp_path / f"{workers}.json"
        file.write_text(json.dumps(drawn))
        return Graph(file=str(file))

    return make


def test_a_server_that_is_not_busy_serves_n_over_compute_and_transfer(one_way_in):
    """Serial server: min(N / (Tc + Ts), 1 / Ts). Workers that take turns never meet in the link."""
    workers, compute, transfer = 4, 100 * MS, 10 * MS
    turns = tuple(
        LateJoin(nodes=(rank,), at=rank * (compute + transfer) // workers)
        for rank in range(1, workers)
    )
    scenario = described(
        workers,
        60,
        dimension=BYTES // 8,
        step_ns=compute,
        jitter=Constant(),
        network=one_way_in(workers),
        conditions=turns,
    )
    times = np.array([row.time_ns for row in updates(scenario)])
    rate = workers * 1e9 / (compute + transfer)
    assert 1e9 * workers / np.diff(times[::workers]) == pytest.approx(rate, rel=1e-6)


def test_a_server_that_is_busy_serves_one_update_a_transfer(one_way_in):
    workers, compute, transfer = 8, 20 * MS, 10 * MS
    scenario = described(
        workers,
        600,
        dimension=BYTES // 8,
        step_ns=compute,
        jitter=LogNormal(sigma=0.1),
        network=one_way_in(workers),
    )
    times = np.array([row.time_ns for row in updates(scenario)])
    assert (times[-1] - times[100]) / 499 == pytest.approx(transfer, rel=0.01)


@pytest.mark.parametrize("slowdown", [2.0, 4.0])
def test_unequal_exponential_workers_see_the_others_rates_over_their_own(slowdown):
    """Worker i of rate r_i sees a mean staleness of (R - r_i) / r_i; within 4 standard errors."""
    workers, count = 3, 9000
    scenario = described(
        workers,
        count,
        jitter=Exponential(),
        stragglers=(Persistent(nodes=(0,), slowdown=slowdown),),
    )
    rows = updates(scenario)[200:]
    rates = np.array([1 / slowdown, 1.0, 1.0])
    for worker in range(workers):
        seen = np.array([row.staleness_updates for row in rows if row.node == worker])
        expected = (rates.sum() - rates[worker]) / rates[worker]
        error = max(0.01 * expected, 4 * seen.std() / len(seen) ** 0.5)
        assert abs(seen.mean() - expected) < error


def mean_course(workers, rate, jitter, count, seeds):
    """Return E w_t for t = 0 .. count, and its standard error; w stays positive at such a rate."""
    courses = []
    for seed in range(seeds):
        scenario = described(
            workers, count, rate=rate, jitter=jitter, seeds=(seed,), evaluate_every=1
        )
        # Evaluated after each N-th update.
        courses.append([(2 * each.loss) ** 0.5 for each in run(scenario).evaluations])
    found = np.array(courses)
    return found.mean(axis=0), found.std(axis=0) / seeds**0.5


def test_asynchrony_begets_momentum():
    """E[w_{t+1} - w_t] = (1 - 1/N) E[w_t - w_{t-1}] - (lr/N) E g(w_t), the first being -lr g(w_0).

    Source: Mitliagkas et al., "Asynchrony begets Momentum, with an Application to Deep Learning",
    Allerton 2016, arXiv:1605.09774, theorem 3.
    """
    workers, rate, count = 4, 0.08, 24
    expected = [1.0, 1.0 - rate]
    for _ in range(count - 1):
        momentum = (1 - 1 / workers) * (expected[-1] - expected[-2])
        expected.append(expected[-1] + momentum - rate / workers * expected[-1])
    expected = np.array(expected[::workers])
    found, error = mean_course(workers, rate, Exponential(), count, seeds=150)
    assert (abs(found - expected) <= np.maximum(0.01 * expected, 4 * error) + 1e-12).all()
    # Workers in lock-step have another delay, the same for all updates, and no such momentum.
    steady, _ = mean_course(workers, rate, Constant(), count, seeds=1)
    assert abs(steady - expected).max() > 4 * error.max()
