"""Asynchronous local SGD: published times, an independent schedule, and synchronous limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster, Others
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.delayed_nesterov import DelayedNesterov
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.scenario import Stop
from simbench.simulation import Simulation
from simbench.strategies.async_local_sgd import AsyncLocalSGD
from simbench.strategies.averaging import Averaging
from simbench.strategies.diloco import DiLoCo
from simbench.testing import MS, run, small_scenario, small_scenarios

PUBLISHED_MS = (580, 750, 1510, 3330)


def machines(steps_ms, jitter=None):
    fixed = [Fixed(step_time=each * MS, jitter=jitter or Constant()) for each in steps_ms]
    others = tuple(Others(nodes=(i,), machine=each) for i, each in enumerate(fixed) if i)
    return Cluster(nodes=len(fixed), machine=fixed[0], others=others)


def scenario(strategy, steps_ms=PUBLISHED_MS, **changes):
    return small_scenario(
        strategy,
        **{
            "task": Task(
                model=Quadratic(dimension=3, noise=0.5, optimum=(0.0, 1.0)),
                data=Gaussian(),
                batch_size=1,
                optimizer=SGD(learning_rate=0.05),
                dtype="float64",
            ),
            "cluster": machines(steps_ms),
            "network": Instant(),
            **changes,
        },
    )


def planned(each):
    simulation = Simulation(each, "law", each.seeds[0])
    while simulation.advance():
        pass
    return simulation


@pytest.mark.parametrize(("steps", "seconds"), [(800, 209.0), (1600, 406.4)])
def test_published_times_of_local_steps(steps, seconds):
    """Those of the authors' simulation: workers at .58, .75, 1.51 and 3.33 s per step."""
    strategy = AsyncLocalSGD(period=20, grace=500 * MS)
    last = run(scenario(strategy, stop=Stop(samples=steps))).evaluations[-1]
    assert last.samples == steps
    assert last.time_ns / 1e9 == pytest.approx(seconds, rel=1e-9)


def schedule(steps_ms, period, grace_ms, windows):
    """Return when each window closes and whom it merges, from the rule as it is published."""
    lasts = [period * each for each in steps_ms]
    ends, found = list(lasts), []
    for _ in range(windows):
        merged = [i for i, end in enumerate(ends) if end <= min(ends) + grace_ms]
        closes = max(ends[i] for i in merged)
        found.append((closes, sorted(merged)))
        for i in merged:
            ends[i] = closes + lasts[i]
    return found


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=6),
    st.integers(1, 20),
    st.integers(0, 4000),
)
@settings(max_examples=40)
def test_windows_close_with_the_last_who_comes_in_time(steps_ms, period, grace_ms):
    strategy = AsyncLocalSGD(period=period, grace=grace_ms * MS)
    each = scenario(strategy, steps_ms, stop=Stop(updates=12))
    found = planned(each)
    # Sent at one moment, in the order of merging, which for equal times is that of ranks.
    answers = {}
    for message in found.world.messages:
        if message.tag == "model":
            answers.setdefault(message.sent_ns, []).append(message.receiver)
    expected = schedule(steps_ms, period, grace_ms, 12)
    assert [update.time_ns for update in found.updates] == [ms * MS for ms, _ in expected]
    assert [sorted(ranks) for ranks in answers.values()] == [merged for _, merged in expected][
        : len(answers)
    ]
    merged_so_far = np.cumsum([len(merged) for _, merged in expected])
    assert [found.samples(k + 1) for k in range(12)] == list(period * merged_so_far)
    assert [update.node for update in found.updates] == [
        merged[0] if len(merged) == 1 else None for _, merged in expected
    ]


@given(
    st.sampled_from([LogNormal(sigma=1.0), Exponential()]),
    st.integers(0, 300),
    st.sampled_from([Instant(), Star(bandwidth=10**4, latency=30 * MS)]),
    st.integers(0, 1000),
)
@settings(max_examples=20)
def test_nobody_waits_longer_than_the_grace_time_and_every_push_is_merged(
    jitter, grace_ms, network, seed
):
    strategy = AsyncLocalSGD(period=3, grace=grace_ms * MS)
    found = planned(
        scenario(
            strategy,
            cluster=machines((10, 10, 20, 50), jitter),
            network=network,
            stop=Stop(updates=30),
            seeds=(seed,),
        )
    )
    assert found.ended_by == "updates"
    arrived = sorted(
        found.world.arrivals[each.number]
        for each in found.world.messages
        if each.tag == "push" and each.number in found.world.arrivals
    )
    merged = 0
    for update in found.updates:
        first = arrived[merged]
        merged = found.samples(update.update) // 3
        assert first <= arrived[merged - 1] <= update.time_ns <= first + grace_ms * MS
        assert len(arrived) == merged or arrived[merged] >= update.time_ns


@pytest.mark.parametrize("outer_step", ["window", "push"])
def test_who_waits_for_all_is_synchronous_local_sgd(outer_step):
    """Per push, an outer rate of 1/N makes N steps the step to the mean."""
    rate = {"window": 1.0, "push": 1 / 4}[outer_step]
    strategy = AsyncLocalSGD(
        period=5, grace=None, outer=SGD(learning_rate=rate), outer_step=outer_step
    )
    common = {"evaluate_every": 5}
    ours = run(scenario(strategy, stop=Stop(updates=6), **common)).evaluations
    local = run(scenario(Averaging(period=5), stop=Stop(updates=30), **common)).evaluations
    assert [each.samples for each in ours] == [each.samples for each in local]
    assert [each.time_ns for each in ours] == [each.time_ns for each in local]
    np.testing.assert_allclose(
        [each.loss for each in ours], [each.loss for each in local], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    ("outer_step", "outer"),
    [
        ("window", SGD(learning_rate=0.7, momentum=0.6, nesterov=True)),
        ("push", DelayedNesterov(learning_rate=0.7, momentum=0.6, buffer=4)),
    ],
)
def test_who_waits_for_all_takes_the_outer_steps_of_diloco(outer_step, outer):
    strategy = AsyncLocalSGD(period=5, grace=None, outer=outer, outer_step=outer_step)
    diloco = DiLoCo(period=5, outer=SGD(learning_rate=0.7, momentum=0.6, nesterov=True))
    ours = run(scenario(strategy, stop=Stop(updates=6), evaluate_every=5)).evaluations
    theirs = run(scenario(diloco, stop=Stop(updates=30), evaluate_every=5)).evaluations
    np.testing.assert_allclose(
        [each.loss for each in ours], [each.loss for each in theirs], rtol=1e-12, atol=1e-12
    )


def test_dynamic_local_updates_let_slow_workers_take_fewer_steps():
    """20 v_i / v_max, rounded down: 20, 15, 7 and 3 steps, which take 11.6, 11.25, 10.57, 9.99."""
    strategy = AsyncLocalSGD(period=20, local_updates="dynamic")
    found = planned(scenario(strategy, stop=Stop(updates=8)))
    first = found.updates[:4]
    assert [each.time_ns for each in first] == [each * MS for each in (9990, 10570, 11250, 11600)]
    assert [each.node for each in first] == [3, 2, 1, 0]
    assert [found.samples(k) for k in range(5)] == [0, 3, 10, 25, 45]


@given(small_scenarios(st.just(AsyncLocalSGD(period=2, grace=40 * MS, local_updates="dynamic"))))
@settings(max_examples=10)
def test_the_books_count_the_batches_behind_each_version(each):
    """A version rests on the gradients that lead to it, and on no others."""
    found = planned(each)
    batches = [found.samples(k) for k in range(len(found.updates) + 1)]
    version = found.versions[-1]
    seen, stack = {}, [version.recipe]
    while stack:
        recipe = stack.pop()
        if recipe.key not in seen:
            seen[recipe.key] = recipe.operation.name
            stack.extend(recipe.inputs)
    gradients = list(seen.values()).count("gradient")
    assert gradients * each.task.batch_size == batches[version.progress]
