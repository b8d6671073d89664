"""The verdict says what the numbers show, and no more."""

import math
import re
from dataclasses import replace

from simbench.report.outcomes import outcomes
from simbench.report.reasons import reason
from simbench.report.verdict import verdict


def test_who_is_first_why_and_who_is_missing(make_run):
    first, why, missing = verdict(make_run())

    assert first == (
        "averaging reaches loss 2.5 first, after 5.50 s of virtual time (median of 2 seeds; first "
        "in all): 2.00 times as fast as parameter server (11.0 s)."
    )
    assert why.startswith(
        "Why: averaging processes 2.00 times the samples per second of parameter server (its "
        "workers wait 50 % of the time against 72 %) and needs as many samples to the target"
    )
    assert "asynchronous does not reach it within 12.0 s in any of 2 seeds" in missing
    assert "Machines: 5 for parameter server and asynchronous, whose server" in missing


def test_the_two_factors_make_the_third(make_run, alone):
    slow = replace(alone, name="slow", step_s=1.5, fall=0.25)
    best, other = outcomes(make_run([alone, slow], target=4.0))

    rate, need = re.findall(r"([\d.]+) times the samples", reason(best, other))

    assert (rate, need) == ("1.50", "0.50")
    assert float(rate) / float(need) == other.time_ns / best.time_ns == 3


def test_more_samples_are_explained_by_staleness_that_was_measured(make_run, alone):
    hasty = replace(alone, name="hasty", step_s=0.25, fall=0.25, stale=True, learning_rate=0.1)

    why = verdict(make_run([alone, hasty], target=4.0))[1]

    assert "processes 4.00 times the samples per second of averaging but needs 2.00" in why
    assert "(mean staleness 1.5 updates against 0.0, learning rate 0.1 against 0.3)" in why


def test_a_tie_has_no_winner(make_run, alone):
    lines = verdict(make_run([alone, replace(alone, name="other")]))

    assert lines[0].startswith("averaging and other reach loss 2.5 at the same time, after 5.50 s")
    assert "first" not in lines[0]
    assert "as many samples per second as other and needs as many samples" in lines[1]


def test_a_lead_that_is_not_there_in_every_seed_is_called_so(make_run, alone):
    # 4.5 s and 7.2 s against 5 s and 6 s.
    rival = replace(alone, name="rival", step_s=0.9, spread=0.6)

    first = verdict(make_run([alone, rival]))[0]

    assert "first, after 5.50 s of virtual time (median of 2 seeds; first in 1 of 2): " in first
    assert "1.06 times as fast as rival (5.85 s)" in first


def test_a_small_lead_is_no_factor(make_run, alone):
    rival = replace(alone, name="rival", step_s=1.001)

    assert verdict(make_run([alone, rival]))[0].endswith(": only 0.100 % ahead of rival.")


def test_no_reason_is_given_that_points_the_other_way(make_run, alone):
    # The faster one waits more: then its waiting is no reason.
    lazy = replace(alone, name="lazy", step_s=0.5, compute=0.1)

    assert "wait" not in verdict(make_run([alone, lazy]))[1]


def test_nobody_reaches_it(make_run):
    lines = verdict(make_run(target=-9.0))

    assert lines[0] == "No strategy reaches loss -9."
    assert lines[1].startswith("Samples per second: averaging 29.3 (workers compute 45 %")
    assert len(lines) == 3


def test_one_strategy_and_one_seed_claim_no_factor(make_run, alone):
    lines = verdict(make_run([alone], seeds=(0,)))

    assert "\n".join(lines) == (
        "averaging reaches loss 2.5, after 5.00 s of virtual time (one seed).\n"
        "It processes 32.0 samples per second and needs 160; its workers compute 45 %, "
        "communicate 5 % and wait 50 % of the time."
    )


def test_some_seeds_only(make_run, alone):
    lines = verdict(make_run([alone], seeds=(0, 4), target=1.2))

    assert lines[0] == "averaging does not reach loss 1.2 in more than half of its seeds."
    assert "averaging does not reach it within 10.8 s in 1 of 2 seeds" in lines[2]


def test_no_target(make_run):
    lines = verdict(make_run(target=None))

    assert lines[0].startswith("The scenario sets no target loss. Loss at the end (median over se")
    assert "does not reach" not in " ".join(lines)


def test_a_loss_that_is_no_number(make_run, alone):
    broken = replace(alone, name="broken", fall=math.nan)

    assert "broken does not reach it within 12.0 s" in verdict(make_run([alone, broken]))[2]
    assert "broken no finite number after" in verdict(make_run([alone, broken], target=None))[0]


def test_stuck_runs_say_who_waits_for_whom(make_run, alone):
    halted = replace(alone, name="halted", fall=0.1, stuck="node 1 waits for node 2.")

    lines = verdict(make_run([alone, halted]))

    assert (
        "halted is stuck on seed 0 (and on 1 more) at 12.0 s: node 1 waits for node 2." in lines[2]
    )
