"""The numbers of the small run of ``conftest.py``, computed by hand there."""

import math
from dataclasses import replace

import pytest

from simbench.report.outcomes import outcomes
from simbench.report.table import HEADINGS, cells, rows


def test_medians_are_those_computed_by_hand(make_run):
    averaging, server, asynchronous = outcomes(make_run())

    assert averaging.time_ns == 5.5e9
    assert server.time_ns == 11e9
    assert averaging.samples == server.samples == 5 * 4 * 8
    assert averaging.payload_bytes == 5_000_000
    assert asynchronous.time_ns == math.inf
    assert (averaging.reached, server.reached, asynchronous.reached) == (2, 2, 0)
    assert asynchronous.mean_staleness_updates == 1.5
    assert (averaging.machines, server.machines) == (4, 5)


def test_time_agrees_with_the_summary(make_run):
    run = make_run()
    told = {(e["strategy"], e["seed"]): e["time_to_target_ns"] for e in run.summary["runs"]}

    for outcome in outcomes(run):
        for attempt in outcome.attempts:
            expected = told[outcome.name, attempt.seed]
            assert attempt.time_ns == (math.inf if expected is None else expected)


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_time_is_exactly_samples_over_rate(make_run, seeds):
    for outcome in outcomes(make_run(seeds=seeds)):
        if outcome.reached:
            parts = outcome.samples / outcome.samples_per_second * 1e9
            assert parts == pytest.approx(outcome.time_ns, rel=1e-12)


def test_shares_of_time_add_up(make_run):
    for outcome in outcomes(make_run()):
        assert outcome.computing + outcome.communicating + outcome.waiting == pytest.approx(1)
    averaging = outcomes(make_run())[0]
    # Three workers compute 0.3 of their time and the slow one 0.9.
    assert averaging.computing == pytest.approx((3 * 0.3 + 0.9) / 4)


def test_a_failed_seed_counts_as_later_than_any(make_run, alone):
    # On seed 4 a step takes 1.8 s, and with a target of 1.2 its eighth step is too late.
    course = replace(alone, step_s=1.0)
    two = outcomes(make_run([course], seeds=(0, 4), target=1.2))[0]
    three = outcomes(make_run([course], seeds=(0, 1, 4), target=1.2))[0]

    assert two.reached == 1
    assert two.time_ns == math.inf
    assert three.time_ns == 8 * 1.2e9


def test_the_table_shows_what_went_wrong_where_anything_did(make_run, alone):
    troubled = outcomes(make_run([replace(alone, down=0.2)], name="troubled"))
    calm = outcomes(make_run([alone], name="calm"))

    shown = dict(rows(troubled, 2.5))
    # One of four workers is down for a fifth of its time; three retries in each of two seeds.
    assert shown["workers down"] == "5 %"
    assert shown["transfers sent again, all seeds"] == "6 (2.00 MB twice)"
    assert list(dict(rows(troubled, 2.5)))[-1] == "final loss"
    assert [heading for heading, _ in rows(calm, 2.5)] == list(HEADINGS)


def test_the_table_shows_accuracy_and_perplexity_where_every_seed_tells_one(make_run, alone):
    (without,) = outcomes(make_run([alone], name="untold"))
    attempts = without.attempts
    assert len(attempts) == 2

    def told(*accuracies):
        ends = zip(attempts, accuracies, strict=True)
        return replace(
            without,
            attempts=tuple(
                replace(a, summary={**a.summary, "final_accuracy": share, "final_perplexity": 2.5})
                for a, share in ends
            ),
        )

    shown = {heading: cells for heading, *cells in rows([told(0.25, 0.75), without], 2.5)}

    assert shown["final accuracy"] == ["50 %", "-"]
    assert shown["final perplexity"] == ["2.500", "-"]
    assert "final accuracy" not in dict(rows([told(0.25, None)], 2.5))


def test_the_table_shows_what_was_not_reached(make_run):
    run = make_run()
    shown = [dict(zip(HEADINGS, cells(o, 2.5), strict=True)) for o in outcomes(run)]

    assert shown[0]["time to target"] == "5.50 s"
    assert shown[0]["= samples to target"] == "160"
    assert shown[0]["÷ samples per second"] == "29.1"
    assert shown[0]["payload to target"] == "5.00 MB"
    assert shown[2]["time to target"] == "not reached within 12.0 s"
    assert shown[2]["reached"] == "0 of 2 seeds"
    assert shown[2]["mean staleness (updates)"] == "1.5"
    assert shown[2]["learning rate"] == "0.1"
