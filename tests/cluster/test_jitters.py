"""Laws of jitter, seen in the time of steps: their means, their spread and the slowest of many."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitter import Jitter
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.jitters.normal import Normal
from simbench.cluster.jitters.pareto import Pareto
from simbench.cluster.jitters.shifted_exponential import ShiftedExponential
from simbench.cluster.jitters.trace import Trace
from simbench.cluster.jitters.two_point import TwoPoint
from simbench.cluster.machines.fixed import Fixed
from simbench.spec import discover
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import check_jitter

LAWS = discover("simbench.cluster.jitters", Jitter)
MEAN_NS = 10**9


def cluster_of(nodes, jitter):
    return Cluster(nodes=nodes, machine=Fixed(step_time=MEAN_NS, jitter=jitter))


def factors(law, count):
    return np.array([law.factor(0, 0, step) for step in range(count)])


def harmonic(n):
    return sum(1 / k for k in range(1, n + 1))


def slowest_of_pareto(shape, n):
    beyond = math.lgamma(n + 1) + math.lgamma(1 - 1 / shape) - math.lgamma(n + 1 - 1 / shape)
    return (shape - 1) / shape * math.exp(beyond)


def slowest_of_two_points(probability, slowdown, n):
    none_slow = (1 - probability) ** n
    return (none_slow + slowdown * (1 - none_slow)) / (1 + probability * (slowdown - 1))


@pytest.mark.parametrize(
    ("jitter", "nodes", "expected"),
    [
        (LogNormal(sigma=0.5), 8, 1.8876),
        (LogNormal(sigma=0.5), 32, 2.5638),
        (Exponential(), 8, harmonic(8)),
        (ShiftedExponential(floor=0.8), 16, 0.8 + 0.2 * harmonic(16)),
        (ShiftedExponential(floor=0), 4, harmonic(4)),
        (Pareto(shape=3), 8, slowest_of_pareto(3, 8)),
        (Pareto(shape=5), 16, slowest_of_pareto(5, 16)),
        (TwoPoint(probability=0.05, slowdown=5), 16, slowest_of_two_points(0.05, 5, 16)),
        # Two normal numbers: their mean and half the mean distance, s / sqrt(pi).
        (Normal(deviation=0.2), 2, 1 + 0.2 / math.sqrt(math.pi)),
        (Trace(times=(1, 1, 1, 5)), 3, (1 - 0.75**3) * 2.5 + 0.75**3 * 0.5),
        (Constant(), 8, 1),
    ],
    ids=repr,
)
def test_a_synchronous_step_takes_the_slowest_of_n(update_times, agrees, jitter, nodes, expected):
    # Few steps of many seeds, as a trace's offset is drawn once for each.
    cluster = cluster_of(nodes, jitter)
    ends = [update_times(cluster, Averaging(), seed=seed, updates=10)[-1] for seed in range(30)]

    agrees(np.array(ends) / 10 / MEAN_NS, expected)


def test_a_server_that_waits_for_all_waits_for_the_slowest(update_times):
    cluster = cluster_of(8, LogNormal(sigma=0.5))

    with_server = update_times(cluster, ParameterServer(), updates=30)

    assert with_server.tolist() == update_times(cluster, Averaging(), updates=30).tolist()


def test_with_exponential_steps_not_waiting_pays_by_p_times_h_p(update_times):
    cluster, updates = cluster_of(8, Exponential()), 1000

    waiting = update_times(cluster, Averaging(), updates=updates)[-1] / updates
    not_waiting = update_times(cluster, Asynchronous(), updates=8 * updates)[-1] / (8 * updates)

    # The time of a step of all has the variance sum 1/k^2, an update of nobody's waiting a P-th.
    spread = math.sqrt(sum(1 / k**2 for k in range(1, 9)) / harmonic(8) ** 2 + 1 / 8)
    error = 4 * spread / updates**0.5
    assert waiting / not_waiting == pytest.approx(21.743, rel=max(0.01, error))


@pytest.mark.parametrize(
    "law",
    [
        Normal(deviation=1),
        Normal(deviation=5),
        LogNormal(sigma=0),
        LogNormal(sigma=0.9),
        ShiftedExponential(floor=0),
        ShiftedExponential(floor=1),
        Pareto(shape=2.5),
        TwoPoint(probability=0.5, slowdown=0.2),
        TwoPoint(probability=1, slowdown=7),
        Trace(times=(3, 1, 2)),
        Trace(times=(4.5,)),
    ],
    ids=repr,
)
def test_laws_with_other_settings(law):
    check_jitter(law)


@pytest.mark.parametrize("kind", sorted(set(LAWS) - {"constant"}))
def test_another_node_step_or_seed_is_another_draw(kind):
    law = LAWS[kind]()

    def drawn(seed, rank):
        return tuple(law.factor(seed, rank, step) for step in range(40))

    assert len({drawn(seed, rank) for seed in range(2) for rank in range(2)}) > 1
    assert len(set(drawn(0, 0))) > 1


@pytest.mark.parametrize("sigma", [0.0, 0.2, 1.0])
def test_log_normal_jitter_has_the_spread_that_it_names(sigma):
    logarithms = np.log(factors(LogNormal(sigma=sigma), 4000))

    assert logarithms.std() == pytest.approx(sigma, rel=0.05)
    assert logarithms.mean() == pytest.approx(-(sigma**2) / 2, abs=0.05)


@pytest.mark.parametrize(("deviation", "spread"), [(0.1, 0.1), (0.3, 0.2966), (1, 0.6163)])
def test_normal_jitter_has_the_spread_of_a_normal_that_is_cut_off(deviation, spread):
    """Known: variance s^2 (1 - h/s - h^2) above 0, h = phi(1/s)/Phi(1/s); the mean is 1 + s h."""
    assert factors(Normal(deviation=deviation), 8000).std() == pytest.approx(spread, rel=0.05)


@given(st.floats(0, 1), st.floats(0.1, 20))
def test_two_points_have_the_ratio_and_the_mean_that_they_name(probability, slowdown):
    law = TwoPoint(probability=probability, slowdown=slowdown)
    fast = 1 / (1 + probability * (slowdown - 1))

    seen = set(factors(law, 20).tolist())

    assert all(each in (pytest.approx(fast), pytest.approx(slowdown * fast)) for each in seen)
    assert (1 - probability) * fast + probability * slowdown * fast == pytest.approx(1)


def test_two_points_are_slow_as_often_as_they_say(agrees):
    drawn = factors(TwoPoint(probability=0.2, slowdown=3), 4000)

    agrees(drawn > 1, 0.2)


def test_no_step_is_faster_than_the_floor():
    drawn = factors(ShiftedExponential(floor=0.7), 2000)

    assert 0.7 <= drawn.min() < 0.701


def test_a_pareto_tail_falls_with_its_shape(agrees):
    drawn = factors(Pareto(shape=2), 8000)

    assert drawn.min() == pytest.approx(0.5, rel=0.001)
    agrees(drawn > 2, (0.5 / 2) ** 2)


def test_a_trace_is_replayed_in_its_order_from_the_offset_of_the_node(update_times):
    times = (1.0, 2.0, 3.0, 6.0)
    cluster = Cluster(nodes=1, machine=Fixed(step_time=300, jitter=Trace(times=times)))

    steps = np.diff(update_times(cluster, Averaging(), updates=9), prepend=0).tolist()

    whole = [100, 200, 300, 600]
    assert steps in [[whole[(offset + k) % 4] for k in range(9)] for offset in range(4)]


def test_offsets_in_a_trace_are_drawn_evenly():
    law = Trace(times=(1, 2, 3, 4, 5))

    begins = np.array([law.factor(0, rank, 0) for rank in range(2000)]) * 3

    counts = np.bincount(np.round(begins).astype(int))[1:]
    assert len(counts) == 5
    # Each 400 on average, with a standard deviation of 18.
    assert abs(counts - 400).max() < 4 * 18
