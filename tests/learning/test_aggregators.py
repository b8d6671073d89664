"""Aggregators against small formulas, and what they promise while some workers are faulty."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simbench import testing
from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.learning.aggregator import Aggregate
from simbench.learning.aggregators.krum import Krum
from simbench.learning.aggregators.mean import Mean
from simbench.learning.aggregators.median import Median
from simbench.learning.aggregators.trimmed_mean import TrimmedMean
from simbench.learning.aggregators.weighted_mean import WeightedMean
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.scenario import Stop
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, run, small_scenario

ENTRIES = st.floats(-100, 100)


@st.composite
def vectors(draw, fewest=1):
    count, length = draw(st.integers(fewest, 9)), draw(st.integers(1, 4))
    rows = st.lists(ENTRIES, min_size=length, max_size=length)
    return np.array(draw(st.lists(rows, min_size=count, max_size=count)))


def combined(aggregator, rows):
    return Aggregate(aggregator)(*torch.from_numpy(np.asarray(rows, dtype=float))).numpy()


def krum_by_hand(rows, faulty, chosen):
    squares = ((rows[:, None] - rows[None]) ** 2).sum(-1)
    nearest = [sorted(np.delete(squares[i], i))[: len(rows) - faulty - 2] for i in range(len(rows))]
    best = np.argsort([sum(each) for each in nearest], kind="stable")[:chosen]
    return rows[np.sort(best)].mean(axis=0)


@given(vectors())
def test_the_median_is_that_of_numpy(rows):
    np.testing.assert_allclose(combined(Median(), rows), np.median(rows, axis=0), rtol=1e-14)


@given(vectors(fewest=3), st.data())
def test_the_trimmed_mean_is_what_is_left_in_the_middle(rows, data):
    trim = data.draw(st.integers(1, (len(rows) - 1) // 2))
    expected = np.sort(rows, axis=0)[trim:-trim].mean(axis=0)
    found = combined(TrimmedMean(trim=trim), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=3, max_size=9))
def test_krum_has_the_lowest_scores(rows):
    """On whole numbers, where sums are exact and ties are ties."""
    rows = np.array(rows, dtype=float)
    for faulty in range((len(rows) - 3) // 2 + 1):
        for chosen in (1, 2, len(rows)):
            found = combined(Krum(faulty=faulty, chosen=chosen), rows)
            np.testing.assert_allclose(found, krum_by_hand(rows, faulty, chosen), rtol=1e-14)


@given(vectors(fewest=5))
def test_krum_picks_one_of_the_vectors(rows):
    assert combined(Krum(), rows).tolist() in rows.tolist()


@given(vectors(fewest=3), st.data())
def test_the_order_of_workers_does_not_matter(rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    for aggregator in (Median(), TrimmedMean()):
        found = combined(aggregator, rows[order])
        np.testing.assert_array_equal(found, combined(aggregator, rows))


WRONG = ENTRIES.map(lambda x: 1e6 * x) | st.sampled_from([np.inf, -np.inf, np.nan])


@given(vectors(fewest=3), st.data())
def test_what_few_faulty_workers_bring_stays_without_effect_on_the_range(rows, data):
    """Fewer than half at the median, ``trim`` at the trimmed mean: among the honest values."""
    faulty = data.draw(st.integers(1, (len(rows) - 1) // 2))
    honest = rows[faulty:].copy()
    length = rows.shape[1]
    bad = st.lists(WRONG, min_size=length, max_size=length)
    rows[:faulty] = data.draw(st.lists(bad, min_size=faulty, max_size=faulty))
    shuffled = rows[data.draw(st.permutations(range(len(rows))))]
    slack = 1e-9
    for aggregator in (Median(), TrimmedMean(trim=faulty)):
        found = combined(aggregator, shuffled)
        assert (found >= honest.min(axis=0) - slack).all()
        assert (found <= honest.max(axis=0) + slack).all()


@given(st.integers(0, 2**16), st.integers(1, 3), st.sampled_from([np.inf, np.nan, 1e9, -1e9]))
def test_krum_passes_over_who_stands_apart(seed, faulty, wrong):
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(2 * faulty + 3, 4))
    rows[draw.choice(len(rows), faulty, replace=False)] = wrong
    assert np.abs(combined(Krum(faulty=faulty), rows)).max() < 10
    chosen = len(rows) - faulty
    assert np.abs(combined(Krum(faulty=faulty, chosen=chosen), rows)).max() < 10


@pytest.mark.parametrize(("trim", "taken"), [(0.1, 3), (0.29, 8), (0.3, 9), (4, 4)])
def test_a_share_counts_as_it_is_written_and_is_rounded_down(trim, taken):
    assert TrimmedMean(trim=trim).num_trimmed(30) == taken


@pytest.mark.parametrize(
    ("aggregator", "key", "says"),
    [
        (Krum(faulty=1), "faulty", "needs 2 * faulty + 3 = 5 vectors or more; got 4"),
        (Krum(faulty=0, chosen=5), "chosen", "expected at most the 4 vectors; got 5"),
        (
            TrimmedMean(trim=2),
            "trim",
            "expected to take some of 4 vectors and to leave some; 2 takes 2 at each end",
        ),
        (
            TrimmedMean(trim=0.2),
            "trim",
            "expected to take some of 4 vectors and to leave some; 0.2 takes 0 at each end",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_the_number_of_pushes_is_refused(aggregator, key, says):
    with pytest.raises(ValidationError) as caught:
        small_scenario(
            ParameterServer(aggregator=aggregator, backup_workers=1),
            cluster=Cluster(nodes=5, machine=Fixed()),
        )
    error = caught.value.errors()[0]
    assert error["loc"] == ("strategies", "law", "aggregator", key)
    assert error["msg"] == says


def test_the_default_is_the_mean_as_it_was():
    plain, mean = ParameterServer(), ParameterServer(aggregator=Mean())
    assert plain == mean
    # Data without an end: all weights are equal, so it is the mean's very Value.
    task = Task(model=Quadratic(dimension=9, noise=1.0), data=Gaussian(), optimizer=SGD())
    outcomes = [
        run(small_scenario(strategy, task=task, stop=Stop(updates=8)))
        for strategy in (plain, ParameterServer(aggregator=WeightedMean()))
    ]
    shas = {each.summary["parameters_sha256"] for each in outcomes}
    assert len(shas) == 1
    sizes = [{m.num_bytes for m in each.messages if m.tag == "push"} for each in outcomes]
    assert sizes == [{9 * 4}, {9 * 4 + 8}]


def test_a_worker_counts_as_much_as_its_data():
    """7 points on 3 nodes are 2, 2 and 3: with them as weights, one step from 0 by hand."""
    data = Classification(samples=7, validation_samples=5)
    task = Task(
        model=Logistic(features=2),
        data=data,
        optimizer=SGD(learning_rate=0.5),
        batch_size=6,
        dtype="float64",
    )
    assert task.shard_sizes((1, 1, 1)) == (2, 2, 3)
    plain, weighted = (
        run(
            small_scenario(
                ParameterServer(combine="gradients", aggregator=aggregator),
                task=task,
                cluster=Cluster(nodes=3, machine=Fixed(step_time=10 * MS)),
                stop=Stop(updates=1),
                evaluate_every=1,
            )
        )
        for aggregator in (Mean(), WeightedMean())
    )
    assert weighted.evaluations[1].loss != plain.evaluations[1].loss
    assert weighted.evaluations[1].loss == pytest.approx(_loss_after_one_step(task), rel=1e-12)


def _loss_after_one_step(task):
    from simbench.learning.operations import Bench, Gradient, Initial  # noqa: PLC0415

    bench = Bench(task, 0, 3, "cpu", "")
    start = Initial(bench)()
    slopes = [Gradient(bench)(start, rank, 0) for rank in range(3)]
    stepped = start - 0.5 * (2 * slopes[0] + 2 * slopes[1] + 3 * slopes[2]) / 7
    module, _ = bench.module_with(stepped)
    points = task.data.validation(3, task.model.length)[0]
    with torch.no_grad():
        return float(task.model.loss(module, points))


@pytest.mark.parametrize(
    "strategy",
    [
        ParameterServer(aggregator=TrimmedMean(), combine="gradients"),
        ParameterServer(aggregator=Krum(faulty=0), backup_workers=1),
    ],
    ids=str,
)
def test_laws_of_a_server_that_aggregates_otherwise(strategy):
    testing.check_strategy(strategy)
