"""How long a step takes: machines, and nodes that are something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster, Others
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.machines.accelerator import Accelerator
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.machines.flops import Flops
from simbench.strategies.averaging import Averaging

STILL = Fixed(step_time=1000, jitter=Constant())


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


def test_a_step_takes_a_nanosecond_at_least():
    assert Cluster(machine=Flops(rate=10**18)).step_ns(1, 0, 0, 0) == 1


def test_other_machines_take_their_own_time_with_their_own_jitter():
    slow, wild = Fixed(step_time=5000, jitter=Constant()), Fixed(step_time=10**9)
    others = (Others(nodes=(3, 1), machine=slow), Others(nodes=(2,), machine=wild))
    cluster = Cluster(nodes=4, machine=STILL, others=others)

    for step in range(3):
        assert [cluster.step_ns(0, 0, rank, step) for rank in (0, 1, 3)] == [1000, 5000, 5000]
        alone_ns = Cluster(nodes=4, machine=wild).step_ns(0, 0, 2, step)
        assert cluster.step_ns(0, 0, 2, step) == alone_ns != 10**9


def test_a_step_of_all_takes_as_long_as_the_slowest_machine_needs(update_times):
    others = (Others(nodes=(1,), machine=Fixed(step_time=700, jitter=Constant())),)
    cluster = Cluster(nodes=3, machine=Fixed(step_time=300, jitter=Constant()), others=others)

    assert update_times(cluster, Averaging(), updates=3).tolist() == [700, 1400, 2100]


def test_machines_are_those_that_some_node_is():
    others = (Others(nodes=(0, 1), machine=Fixed()),)

    def keys(nodes, num_nodes):
        return [keys for keys, _ in Cluster(nodes=nodes, others=others).machines(num_nodes)]

    assert keys(3, 3) == [("machine",), ("others", 0, "machine")]
    assert keys(2, 2) == [("others", 0, "machine")]
    # A server's own machine is one like the cluster's.
    assert keys(2, 3) == [("machine",), ("others", 0, "machine")]


@pytest.mark.parametrize("machine", [Flops(), Fixed(), Accelerator()], ids=lambda each: each.kind)
def test_jitter_is_a_matter_of_the_machine_whatever_it_is(machine):
    jittery = machine.model_copy(update={"jitter": Exponential()})
    still = machine.model_copy(update={"jitter": Constant()})

    for step in range(3):
        factor = Exponential().factor(5, 1, step)
        expected_ns = factor * Cluster(machine=still).step_ns(10**15, 5, 1, step)
        drawn_ns = Cluster(machine=jittery).step_ns(10**15, 5, 1, step)
        assert drawn_ns == pytest.approx(expected_ns, abs=1 + factor)
