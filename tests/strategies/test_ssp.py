"""Bounded staleness: closed forms of its clocks, and its limits."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.persistent import Persistent
from simbench.cluster.stragglers.rotating import Rotating
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.parameter_server import ParameterServer
from simbench.strategies.ssp import StaleSynchronous
from simbench.testing import MS, run, small_scenario, small_scenarios

SECOND = 1000 * MS


def finishes_ns(staleness, nodes, clocks, *, jitter=None, stragglers=(), **changes):
    """Return when each worker finished each of its clocks until the slowest did ``clocks``."""
    machine = Fixed(step_time=SECOND, jitter=jitter or Constant())
    scenario = small_scenario(
        StaleSynchronous(staleness=staleness),
        task=Task(model=Quadratic(dimension=1), data=Gaussian()),
        cluster=Cluster(nodes=nodes, machine=machine, stragglers=stragglers),
        **{"network": Instant(), "evaluate_every": 10**6, **changes},
        stop=Stop(updates=nodes * clocks + nodes * (staleness + 1)),
    )
    simulation = Simulation(scenario, "law", 0)
    while simulation.ended_by is None:
        simulation.advance()
    rows = simulation.updates
    return [[row.time_ns for row in rows if row.node == rank][:clocks] for rank in range(nodes)]


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_two_exponential_workers_finish_2s_plus_2_clocks_in_2s_plus_3_seconds(staleness):
    """Of the two, one is ahead by -s-1 .. s+1, all equally likely; at either end one waits."""
    clocks, stretches = 6_000, 40
    ends = np.array(finishes_ns(staleness, 2, clocks, jitter=Exponential())[0]) / SECOND
    lengths = np.diff(ends[:: clocks // stretches])
    error = 4 * lengths.std() / lengths.mean() / math.sqrt(len(lengths))
    expected = (2 * staleness + 2) / (2 * staleness + 3)
    assert clocks / ends[-1] == pytest.approx(expected, rel=max(0.01, error))
    assert error < 0.05  # so that it can tell 2/3 from 4/5 and 6/7


@pytest.mark.parametrize(("staleness", "seconds"), [(0, 8), (1, 4), (2, 8 / 3), (7, 15 / 8)])
def test_a_rotating_straggler_costs_max_of_its_mean_and_its_part_of_the_lead(staleness, seconds):
    """At clock c, worker c mod N takes 1 + d: max(1 + d/N, (1+d)/(s+1)) per clock, in the end."""
    nodes, extra = 8, 7
    assert seconds == max(1 + extra / nodes, (1 + extra) / (staleness + 1))
    slow = (Rotating(slowdown=1 + extra),)
    ends_ns = finishes_ns(staleness, nodes, 480, stragglers=slow)[0]
    # Whole turns of the pattern, each of a whole number of leads.
    period = math.lcm(nodes, staleness + 1)
    assert (ends_ns[-1] - ends_ns[-1 - 4 * period]) / (4 * period) == pytest.approx(
        seconds * SECOND, rel=1e-6
    )


@pytest.mark.parametrize("staleness", [0, 1, 4, 40])
def test_bounded_staleness_does_not_help_a_persistent_straggler(staleness):
    clocks = 30
    slow = (Persistent(nodes=(0,), slowdown=2.0),)
    ends_ns = finishes_ns(staleness, 3, clocks, stragglers=slow)
    assert ends_ns[0][-1] == 2 * clocks * SECOND
    fast = max(clocks, 2 * (clocks - 1 - staleness) + 1) * SECOND
    assert [each[-1] for each in ends_ns[1:]] == [fast, fast]


@given(
    st.integers(0, 4),
    st.integers(1, 6),
    st.sampled_from([LogNormal(sigma=1.0), Exponential(), Constant()]),
    st.floats(1, 8),
    st.sampled_from([Instant(), Star(bandwidth=10**6, latency=3 * MS)]),
    st.integers(0, 1000),
)
@settings(max_examples=25)
def test_nobody_leads_by_more_than_staleness_plus_1(
    staleness, nodes, jitter, slowdown, network, seed
):
    scenario = small_scenario(
        StaleSynchronous(staleness=staleness),
        task=Task(model=Quadratic(dimension=100), data=Gaussian()),
        cluster=Cluster(
            nodes=nodes,
            machine=Fixed(step_time=10 * MS, jitter=jitter),
            stragglers=(Persistent(nodes=(0,), slowdown=slowdown),),
        ),
        network=network,
        stop=Stop(updates=40 * nodes),
        seeds=(seed,),
    )
    simulation = Simulation(scenario, "law", seed)
    while simulation.ended_by is None:
        simulation.advance()
    finished = Counter(dict.fromkeys(range(nodes), 0))
    leads = []
    for row in simulation.updates:
        finished[row.node] += 1
        leads.append(max(finished.values()) - min(finished.values()))
    assert len(leads) == 40 * nodes
    assert max(leads) <= staleness + 1
    if nodes > 1 and slowdown > staleness + 2 and isinstance(jitter, Constant):
        assert max(leads) == staleness + 1, "who may run ahead does"


@given(small_scenarios(st.just(StaleSynchronous(staleness=0))))
@settings(max_examples=15)
def test_without_staleness_it_is_the_parameter_server(scenario):
    """The same losses within 1e-12, at the same moments, and the same messages."""
    rounds = scenario.stop.updates
    updates = Stop(updates=rounds * scenario.cluster.nodes)
    bounded = run(scenario.model_copy(update={"stop": updates}))
    synchronous = run(scenario.model_copy(update={"strategies": {"law": ParameterServer()}}))
    np.testing.assert_allclose(
        [each.loss for each in bounded.evaluations],
        [each.loss for each in synchronous.evaluations],
        rtol=1e-12,
        atol=1e-12,
    )
    for one, other in zip(bounded.evaluations, synchronous.evaluations, strict=True):
        assert one._replace(progress=0, loss=0) == other._replace(progress=0, loss=0)
    assert bounded.messages == synchronous.messages


def test_without_staleness_momentum_stays_with_the_worker():
    task = Task(
        model=Quadratic(dimension=20, optimum=(1.0, -1.0), noise=0.5),
        data=Gaussian(),
        optimizer=SGD(learning_rate=0.05, momentum=0.9),
        dtype="float64",
    )
    common = {"task": task, "evaluate_every": 1}
    bounded = small_scenario(StaleSynchronous(staleness=0), stop=Stop(updates=40), **common)
    synchronous = small_scenario(ParameterServer(), stop=Stop(updates=10), **common)
    np.testing.assert_allclose(
        [each.loss for each in run(bounded).evaluations],
        [each.loss for each in run(synchronous).evaluations],
        rtol=1e-12,
        atol=1e-12,
    )


def test_without_a_bound_in_reach_it_is_asynchronous_with_the_mean_for_the_sum():
    """On one worker nothing differs; on N, a change of lr through 1/N is one of lr/N."""

    def task(rate):
        return Task(
            model=Quadratic(dimension=20, noise=0.5),
            data=Gaussian(),
            optimizer=SGD(learning_rate=rate),
            dtype="float64",
        )

    common = {"stop": Stop(updates=60), "evaluate_every": 1}
    bounded = run(small_scenario(StaleSynchronous(staleness=10**6), task=task(0.2), **common))
    free = run(small_scenario(Asynchronous(), task=task(0.2 / 4), **common))
    np.testing.assert_allclose(
        [each.loss for each in bounded.evaluations],
        [each.loss for each in free.evaluations],
        rtol=1e-12,
        atol=1e-12,
    )
    assert bounded.updates == free.updates
    assert bounded.messages == free.messages


@pytest.mark.parametrize(
    "strategy", [StaleSynchronous(staleness=0), StaleSynchronous(server=0)], ids=str
)
def test_laws_with_other_settings(strategy):
    testing.check_strategy(strategy)
