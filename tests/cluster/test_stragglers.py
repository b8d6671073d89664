"""Who is slow, and when: always, in turn, in spells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.stragglers.bursts import Bursts
from simbench.cluster.stragglers.persistent import Persistent
from simbench.cluster.stragglers.rotating import Rotating
from simbench.seeds import generator
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

STILL = Fixed(step_time=1000, jitter=Constant())
SYNCHRONOUS = pytest.mark.parametrize(
    "strategy", [Averaging(), ParameterServer()], ids=lambda each: each.kind
)


def cluster_of(nodes, *stragglers):
    return Cluster(nodes=nodes, machine=STILL, stragglers=stragglers)


def slow_steps(straggler, rank, count):
    """Return, for each step of a node among 4, whether it is slow."""
    return np.array([straggler.is_slow(0, "stragglers.0", rank, step, 4) for step in range(count)])


# -- always


def test_a_straggler_is_slower_by_its_factor_and_only_it():
    slow, slower = Persistent(nodes=(1, 2), slowdown=3), Persistent(nodes=(2,), slowdown=2)
    cluster = cluster_of(4, slow, slower)

    assert [cluster.step_ns(0, 0, rank, 0) for rank in range(4)] == [1000, 3000, 6000, 1000]


def test_a_straggler_meets_the_same_jitter_as_without_its_slowdown():
    machine = Fixed(step_time=10**12)
    even = Cluster(nodes=2, machine=machine)
    uneven = Cluster(nodes=2, machine=machine, stragglers=(Persistent(nodes=(1,), slowdown=4),))

    for step in range(5):
        assert uneven.step_ns(0, 0, 0, step) == even.step_ns(0, 0, 0, step)
        expected_ns = 4 * even.step_ns(0, 0, 1, step)
        assert uneven.step_ns(0, 0, 1, step) == pytest.approx(expected_ns, abs=4)


@pytest.mark.parametrize(("nodes", "slowdown"), [(8, 4), (2, 2), (5, 10)])
@SYNCHRONOUS
def test_one_slow_worker_slows_all_that_wait_and_itself_where_nobody_does(
    update_times, strategy, nodes, slowdown
):
    one_slow = cluster_of(nodes, Persistent(nodes=(nodes - 1,), slowdown=slowdown))
    budget_ns = 20 * slowdown * 1000

    def count(cluster, strategy):
        return len(update_times(cluster, strategy, virtual_time=budget_ns))

    full = count(cluster_of(nodes), strategy), count(cluster_of(nodes), Asynchronous())
    slow = count(one_slow, strategy), count(one_slow, Asynchronous())

    assert full == (20 * slowdown, 20 * slowdown * nodes)
    assert slow[0] / full[0] == 1 / slowdown
    assert slow[1] / full[1] == pytest.approx((nodes - 1 + 1 / slowdown) / nodes, rel=1e-12)


def test_a_straggler_may_be_faster():
    cluster = cluster_of(2, Persistent(nodes=(0,), slowdown=0.5))

    assert [cluster.step_ns(0, 0, rank, 0) for rank in range(2)] == [500, 1000]


# -- in turn


@pytest.mark.parametrize(("nodes", "delay"), [(8, 7), (3, 0.5)])
@SYNCHRONOUS
def test_where_all_wait_every_step_meets_the_slow_turn(update_times, strategy, nodes, delay):
    cluster = cluster_of(nodes, Rotating(slowdown=1 + delay))

    steps = np.diff(update_times(cluster, strategy, updates=3 * nodes), prepend=0)

    assert steps.tolist() == [1000 * (1 + delay)] * (3 * nodes)


@pytest.mark.parametrize(("nodes", "delay"), [(8, 7), (3, 2)])
def test_where_nobody_waits_a_turn_costs_an_nth_of_the_delay(update_times, nodes, delay):
    """Each worker takes N + d for N steps, so N updates take 1 + d/N on average."""
    cluster = cluster_of(nodes, Rotating(slowdown=1 + delay))

    times = update_times(cluster, Asynchronous(), virtual_time=10 * (nodes + delay) * 1000)

    assert len(times) == 10 * nodes**2


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 500), st.integers(0, 3))
def test_at_a_step_one_node_is_slow_whose_turn_it_is(nodes, every, step, seed):
    cluster = cluster_of(nodes, Rotating(every=every, slowdown=3))

    slow = [rank for rank in range(nodes) if cluster.step_ns(0, seed, rank, step) == 3000]

    assert slow == [step // every % nodes]


def test_the_turn_goes_in_the_order_of_the_nodes_that_are_named():
    cluster = cluster_of(4, Rotating(nodes=(2, 0), every=2, slowdown=3))

    slow = [
        [rank for rank in range(4) if cluster.step_ns(0, 0, rank, step) == 3000]
        for step in range(6)
    ]

    assert slow == [[2], [2], [0], [0], [2], [2]]


# -- in spells


@pytest.mark.parametrize(("gap", "length"), [(90, 10), (20, 5), (3, 2), (2, 2)])
def test_spells_and_gaps_last_as_long_as_they_say(agrees, gap, length):
    straggler = Bursts(gap=gap, length=length)
    slow = np.array([slow_steps(straggler, rank, 400) for rank in range(100)])

    share = length / (gap + length)
    agrees(slow.mean(axis=1), share)
    # From the first step on: a node may begin in the middle of a spell.
    agrees([straggler.is_slow(0, "stragglers.0", rank, 0, 4) for rank in range(4000)], share)
    agrees((~slow)[:, 1:][slow[:, :-1]], 1 / length)
    agrees(slow[:, 1:][~slow[:, :-1]], 1 / gap)


def test_lengths_of_spells_are_geometric(agrees):
    slow = np.concatenate([slow_steps(Bursts(gap=20, length=5), rank, 2000) for rank in range(8)])
    edges = np.flatnonzero(np.diff(slow.astype(int), prepend=0, append=0))
    lengths = edges[1::2] - edges[::2]

    agrees(lengths, 5)
    for k in (1, 5, 10):
        agrees(lengths > k, 0.8**k)


def test_bursts_of_two_nodes_and_of_two_entries_are_independent(agrees):
    straggler, share = Bursts(gap=6, length=4, slowdown=3), 0.4
    one, other = slow_steps(straggler, 0, 8000), slow_steps(straggler, 1, 8000)
    cluster = cluster_of(1, straggler, straggler)
    ninefold = np.array([cluster.step_ns(0, 0, 0, step) == 9000 for step in range(8000)])

    for both in (one & other, ninefold):
        # Steps nearby are alike: what is independent are stretches.
        agrees(both.reshape(200, -1).mean(axis=1), share**2)


def test_where_all_wait_a_spell_of_any_node_counts(update_times, agrees):
    cluster = cluster_of(4, Bursts(gap=12, length=4, slowdown=3))

    ends = [update_times(cluster, Averaging(), seed=seed, updates=10)[-1] for seed in range(150)]

    agrees(np.array(ends) / 10 / 1000, 1 + 2 * (1 - 0.75**4))


def test_where_nobody_waits_a_spell_costs_its_share(update_times, agrees):
    cluster = cluster_of(1, Bursts(gap=12, length=4, slowdown=3))

    ends = [update_times(cluster, Averaging(), seed=seed, updates=40)[-1] for seed in range(200)]

    agrees(np.array(ends) / 40 / 1000, 1 + 2 * 0.25)


@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize(("gap", "length"), [(3, 2), (40, 6), (400, 300), (3000, 2000)])
def test_a_spell_asked_for_anywhere_is_that_of_the_chain_step_by_step(gap, length, rank):
    become_slow, become_fast = 1 / gap, 1 / length
    chain = []
    for block in range(8):
        for u in generator(7, "stragglers.0", rank, block).random(256):
            if not chain:
                chain.append(u < length / (gap + length))
            else:
                chain.append(u < 1 - become_fast if chain[-1] else u < become_slow)
    straggler = Bursts(gap=gap, length=length)

    backwards = [
        straggler.is_slow(7, "stragglers.0", rank, step, 4) for step in reversed(range(len(chain)))
    ]

    assert backwards[::-1] == chain


def test_spells_of_nobody_else():
    cluster = cluster_of(3, Bursts(nodes=(1,), gap=2, length=9, slowdown=3))
    times = np.array([[cluster.step_ns(0, 0, rank, step) for step in range(99)] for rank in (0, 1)])

    assert set(times[0]) == {1000}
    assert set(times[1]) == {1000, 3000}


def test_spells_shorter_than_those_that_chance_makes_are_refused():
    with pytest.raises(ValidationError, match=r"spells of 1\.333 steps on average"):
        Bursts(gap=4, length=1.2)


# -- together


def test_several_multiply():
    cluster = cluster_of(2, Rotating(slowdown=3), Persistent(nodes=(1,), slowdown=2))

    assert [cluster.step_ns(0, 0, 0, step) for step in range(2)] == [3000, 1000]
    assert [cluster.step_ns(0, 0, 1, step) for step in range(2)] == [2000, 6000]


@pytest.mark.parametrize("kind", [Persistent, Rotating, Bursts])
def test_a_straggler_that_is_no_node_is_refused(kind):
    with pytest.raises(ValidationError, match="node 8 doesn't exist: 8 nodes have the ranks 0 to"):
        Cluster(nodes=8, stragglers=(kind(nodes=(8,)),))


def test_how_long_a_step_usually_takes_is_the_mean_of_the_first_16():
    """Always 3 times, in turn with another 9 times, and never longer."""
    stragglers = (Persistent(nodes=(1,), slowdown=3.0), Rotating(nodes=(2, 3), slowdown=9.0))
    machine = Fixed(step_time=1000, jitter=Constant())
    cluster = Cluster(nodes=5, machine=machine, stragglers=stragglers)

    usual_ns = [cluster.usual_step_ns(1, 0, rank) for rank in range(5)]

    assert usual_ns == [1000, 3000, 5000, 5000, 1000]
