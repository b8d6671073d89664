"""How long a step takes: machines, jitter and stragglers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitter import Jitter
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.machines.flops import Flops
from simbench.cluster.stragglers.persistent import Persistent
from simbench.seeds import generator
from simbench.spec import discover

LAWS = discover("simbench.cluster.jitters", Jitter)
STILL = Fixed(step_time=1000, jitter=Constant())


def factors(law, count):
    return [law.factor(generator(0, "step time", 0, step)) for step in range(count)]


@pytest.mark.parametrize("kind", LAWS)
def test_jitter_is_positive_and_has_the_mean_one(kind):
    drawn = np.array(factors(LAWS[kind](), 4000))

    assert (drawn > 0).all()
    assert drawn.mean() == pytest.approx(1, abs=max(1e-12, 4 * drawn.std() / 4000**0.5))


@pytest.mark.parametrize("sigma", [0.0, 0.2, 1.0])
def test_log_normal_jitter_has_the_spread_that_it_names(sigma):
    logarithms = np.log(factors(LogNormal(sigma=sigma), 4000))

    assert logarithms.std() == pytest.approx(sigma, rel=0.05)
    assert logarithms.mean() == pytest.approx(-(sigma**2) / 2, abs=0.05)


@pytest.mark.parametrize(("sigma", "nodes", "expected"), [(0.5, 8, 1.8876), (0.5, 32, 2.5638)])
def test_the_slowest_of_n_takes_what_order_statistics_say(sigma, nodes, expected):
    cluster = Cluster(nodes=nodes, machine=Fixed(step_time=10**6, jitter=LogNormal(sigma=sigma)))

    slowest = [
        max(cluster.step_ns(0, 0, rank, step) for rank in range(nodes)) for step in range(1500)
    ]

    error = np.std(slowest) / 1500**0.5
    assert np.mean(slowest) / 1e6 == pytest.approx(expected, abs=max(0.01, 4 * error / 1e6))


@given(st.integers(1, 10**15), st.integers(1, 10**18), st.floats(0.01, 1))
def test_flops_take_their_number_over_the_rate_that_is_reached(flops, rate, efficiency):
    machine = Flops(rate=rate, efficiency=efficiency, jitter=Constant())

    assert machine.step_ns(flops) == pytest.approx(flops / (rate * efficiency) * 1e9)


def test_a_step_whose_flops_nobody_counted_has_no_time():
    with pytest.raises(ValueError, match="torch counts no FLOPs"):
        Flops().step_ns(0)


def test_a_fixed_step_takes_its_time_whatever_the_model():
    assert STILL.step_ns(0) == STILL.step_ns(10**18) == 1000


@given(st.integers(0, 5), st.integers(0, 99), st.integers(0, 99))
def test_the_same_step_takes_the_same_time_whenever_it_is_asked(seed, rank, step):
    cluster = Cluster(nodes=100)

    first = cluster.step_ns(10**9, seed, rank, step)
    cluster.step_ns(10**9, seed, rank, step + 1)

    assert cluster.step_ns(10**9, seed, rank, step) == first
    assert cluster.step_ns(10**9, seed + 1, rank, step) != first
    assert cluster.step_ns(10**9, seed, rank + 1, step) != first
    assert cluster.step_ns(10**9, seed, rank, step + 1) != first


def test_equal_machines_do_not_march_in_lock_step_by_default():
    cluster = Cluster(nodes=8)

    assert len({cluster.step_ns(10**9, 0, rank, 0) for rank in range(8)}) == 8


def test_a_straggler_is_slower_by_its_factor_and_only_it():
    slow = Persistent(nodes=(1, 2), slowdown=3)
    slower = Persistent(nodes=(2,), slowdown=2)
    cluster = Cluster(nodes=4, machine=STILL, stragglers=(slow, slower))

    assert [cluster.step_ns(0, 0, rank, 0) for rank in range(4)] == [1000, 3000, 6000, 1000]


def test_a_straggler_meets_the_same_jitter_as_without_its_slowdown():
    machine = Fixed(step_time=10**12)
    even = Cluster(nodes=2, machine=machine)
    uneven = Cluster(nodes=2, machine=machine, stragglers=(Persistent(nodes=(1,), slowdown=4),))

    for step in range(5):
        assert uneven.step_ns(0, 0, 0, step) == even.step_ns(0, 0, 0, step)
        expected_ns = 4 * even.step_ns(0, 0, 1, step)
        assert uneven.step_ns(0, 0, 1, step) == pytest.approx(expected_ns, abs=4)


def test_a_step_takes_a_nanosecond_at_least():
    assert Cluster(machine=Flops(rate=10**18)).step_ns(1, 0, 0, 0) == 1


def test_a_straggler_that_is_no_node_is_refused():
    with pytest.raises(ValidationError, match="node 8 doesn't exist: 8 nodes have the ranks 0 to"):
        Cluster(nodes=8, stragglers=(Persistent(nodes=(8,)),))
