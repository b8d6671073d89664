"""AdaComm's periods against its rule, on the losses that records tell."""

import math

import numpy as np
import pytest

from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.learning.optimizers.sgd import SGD
from simbench.network.topologies.star import Star
from simbench.simulation import NoNumbersError, Simulation, simulate
from simbench.strategies.adacomm import AdaComm
from simbench.strategies.averaging import Averaging
from simbench.testing import check_strategy


def averagings(found):
    """Return after which steps the workers averaged."""
    ends_ns = [update.time_ns for update in found.updates]
    return sorted(
        {
            sum(end < each.sent_ns for end in ends_ns) + 1
            for each in found.messages
            if is_model(each)
        }
    )


def is_model(message):
    return message.tag == "all_reduce"


def by_the_rule(losses, steps, period, interval, gamma):
    """Return after which steps to average, from the loss after each."""
    averaged, next_choice, now, step = [], interval, period, period
    while step <= steps:
        averaged.append(step)
        if step >= next_choice:
            basic = math.ceil(math.sqrt(losses[step] / losses[0]) * period)
            now = basic if basic < now else math.ceil(gamma * now)
            next_choice = (step // interval + 1) * interval
        step += now
    return averaged


@pytest.mark.parametrize("gamma", [0.5, 1.0])
@pytest.mark.parametrize(
    ("period", "interval", "rate"), [(12, 5, 0.02), (9, 20, 0.01), (3, 3, 0.3)]
)
def test_periods_follow_the_rule(outcome, period, interval, rate, gamma):
    """On bowls without noise, all batches together tell what the evaluation does."""
    strategy = AdaComm(period=period, interval=interval, gamma=gamma)
    found = outcome(strategy, 120, SGD(learning_rate=rate), noise=0.0, start=9.0)
    losses = [each.loss for each in found.evaluations]
    expected = by_the_rule(losses, 120, period, interval, gamma)
    assert averagings(found) == expected
    rhythms = set(np.diff(expected))
    assert len(rhythms) > 1, "a case in which nothing adapts shows nothing"


def test_where_the_loss_does_not_fall_gamma_shortens_the_period(outcome):
    """Beyond the limit of stability the loss grows: 16, 8, 4, 2, 1."""
    diverging = SGD(learning_rate=2.5)
    found = outcome(AdaComm(interval=1), 40, diverging, noise=0.0, optimum=(0.0,))
    assert averagings(found) == [16, 24, 28, 30, *range(31, 41)]


def test_a_loss_that_is_no_number_any_more_ends_nothing(outcome):
    found = outcome(AdaComm(period=8, interval=1), 30, SGD(learning_rate=1e30), noise=0.0)
    assert not math.isfinite(found.evaluations[-1].loss)
    assert averagings(found) == [8, 12, 14, *range(15, 31)]


def test_from_an_optimum_on_there_is_no_ratio(outcome):
    found = outcome(AdaComm(period=4, interval=4), 12, noise=0.0, optimum=(1.0,))
    assert averagings(found) == [4, 6, 8, 9, 10, 11, 12]


def test_up_to_its_first_choice_it_is_averaging_bit_for_bit(outcome):
    ours, theirs = outcome(AdaComm(period=4, interval=24)), outcome(Averaging(period=4))
    assert [each.loss for each in ours.evaluations] == [each.loss for each in theirs.evaluations]
    assert ours.summary["parameters_sha256"] == theirs.summary["parameters_sha256"]


def test_a_look_costs_an_all_reduce_of_one_number(outcome):
    found = outcome(AdaComm(period=4, interval=8), 23, noise=0.0)
    looks = [each for each in found.messages if not is_model(each)]
    assert {each.tag for each in looks} == {"loss"}
    moments = {each.sent_ns for each in looks}
    assert len(moments) == 3, "at the start, and once after 8 steps and after 16"
    # A ring of three sends 4/3 of a float64 from each.
    assert sum(each.num_bytes for each in looks) == 3 * 4 * 8


def test_the_network_decides_nothing(outcome):
    settings = {"network": Star(bandwidth=10**4, latency=10**8)}
    strategy = AdaComm(period=6, interval=6)
    slow, fast = outcome(strategy, 40, **settings), outcome(strategy, 40)
    assert slow.summary["end_ns"] > 2 * fast.summary["end_ns"]
    assert [each.loss for each in slow.evaluations] == [each.loss for each in fast.evaluations]


def test_what_it_saw_is_known_on_every_network(bowls):
    """So one training serves them all, as for strategies that look at nothing."""
    strategy, memo, executor = AdaComm(period=6, interval=6), Memo(None), ThreadExecutor(1)
    try:
        first = simulate(bowls(strategy, 40), "law", 0, executor, memo)
        trained = executor.operations_run.copy()
        slow = bowls(strategy, 40, network=Star(bandwidth=10**4, latency=10**8))
        again = simulate(slow, "law", 0, executor, memo)
    finally:
        executor.close()
    assert [each.loss for each in again.evaluations] == [each.loss for each in first.evaluations]
    assert trained["gradient"] == 3 * 40
    assert executor.operations_run == trained


def test_it_cannot_be_planned_and_says_why(bowls):
    simulation = Simulation(bowls(AdaComm()), "law", 0)
    with pytest.raises(NoNumbersError, match=r"'law' looks at a number \(loss_number\)"):
        simulation.advance()


def test_the_law_holds_with_other_settings():
    check_strategy(AdaComm(period=5, interval=10, gamma=0.7))
