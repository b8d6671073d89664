"""The verdict in words: who is first, why, and who did not arrive.

Only what the numbers show is said: no factor without two medians, no reason whose column doesn't
point the same way, and a lead that isn't there in every seed is called so.
"""

import math
from collections.abc import Sequence

from simbench.records import RunFolder
from simbench.report.arithmetic import arithmetic
from simbench.report.outcomes import Outcome, outcomes
from simbench.report.pricing import pricing
from simbench.report.quantities import digits, join, show_loss, show_share, show_target, show_time
from simbench.report.reasons import factor, reason
from simbench.report.shortfalls import failures, machines, stuck
from simbench.report.sweep_verdict import sweep_verdict
from simbench.report.tuning import tuning_verdict

_MOST_COMPARED = 2
_LEVEL = 1.02
"""Below this factor a lead is given in percent, since it reads as none."""


def verdict(run: RunFolder) -> list[str]:
    """Return who reaches the target first, why, and who does not; in few lines, but for a sweep."""
    return [
        *(_verdict(run) if run.point or not run.axes else sweep_verdict(run)),
        *tuning_verdict(run),
        *filter(None, [pricing(run)]),
        *arithmetic(run),
    ]


def _verdict(run: RunFolder) -> list[str]:
    target: float | None = run.summary["target_loss"]
    results = outcomes(run)
    if not results:
        return ["Nothing was run."]
    ranked = sorted((o for o in results if math.isfinite(o.time_ns)), key=lambda o: o.time_ns)
    if ranked and target is not None:
        lines = [_first(ranked, results, target), _why(ranked, results)]
    else:
        lines = [_none(results, target), _rates(results)]
    rest = [*stuck(results), *machines(results, run.summary["workers"])]
    if target is not None:
        rest = [*failures(results), *rest]
    return [*lines, *([" ".join(rest)] if rest else [])]


def _first(ranked: Sequence[Outcome], results: Sequence[Outcome], target: float) -> str:
    best = ranked[0]
    rivals = [o for o in results if o is not best and o.reached]
    level = [o for o in ranked if o.time_ns == best.time_ns]
    behind = [o for o in ranked if o.time_ns > best.time_ns]
    loss = f"loss {show_target(target)}"
    if len(level) > 1:
        text = f"{join([o.name for o in level])} reach {loss} at the same time"
    elif rivals:
        text = f"{best.name} reaches {loss} first"
    else:
        text = f"{best.name}{' alone' if len(results) > 1 else ''} reaches {loss}"
    text += f", after {show_time(best.time_ns)} of virtual time"
    seeds = len(best.attempts)
    notes = [f"median of {seeds} seeds"] if seeds > 1 else ["one seed"]
    if rivals and len(level) == 1 and seeds > 1:
        wins = _wins(best, rivals)
        notes.append(f"first in {'all' if wins == seeds else f'{wins} of {seeds}'}")
    text += f" ({'; '.join(notes)})"
    return f"{text}: {join([_ahead(best, other) for other in behind])}." if behind else f"{text}."


def _wins(best: Outcome, others: Sequence[Outcome]) -> int:
    """Return in how many seeds ``best`` is before all others."""
    attempts = [attempt for other in others for attempt in other.attempts]
    return sum(
        own.reached and all(own.time_ns < a.time_ns for a in attempts if a.seed == own.seed)
        for own in best.attempts
    )


def _ahead(best: Outcome, other: Outcome) -> str:
    ratio = other.time_ns / best.time_ns if best.time_ns else math.inf
    if ratio < _LEVEL:
        return f"only {digits(100 * (ratio - 1))} % ahead of {other.name}"
    return f"{factor(ratio)} times as fast as {other.name} ({show_time(other.time_ns)})"


def _why(ranked: Sequence[Outcome], results: Sequence[Outcome]) -> str:
    best = ranked[0]
    others = [*ranked[1:], *(o for o in results if o not in ranked)]
    if not others:
        return (
            f"It processes {digits(best.samples_per_second)} samples per second and needs "
            f"{digits(best.samples)}; its workers compute {show_share(best.computing)}, "
            f"communicate {show_share(best.communicating)} and wait {show_share(best.waiting)} "
            "of the time."
        )
    compared = "; ".join(reason(best, other) for other in others[:_MOST_COMPARED])
    return f"Why: {best.name} processes {compared}."


def _none(results: Sequence[Outcome], target: float | None) -> str:
    if target is None:
        ends = [
            f"{o.name} {show_loss(o.final_loss)} after {show_time(o.end_ns)}"
            for o in sorted(results, key=lambda o: o.final_loss)
        ]
        over = " (median over seeds)" if len(results[0].attempts) > 1 else ""
        return f"The scenario sets no target loss. Loss at the end{over}: {join(ends)}."
    who = "No strategy reaches" if len(results) > 1 else f"{results[0].name} does not reach"
    most = " in more than half of its seeds" if any(o.reached for o in results) else ""
    return f"{who} loss {show_target(target)}{most}."


def _rates(results: Sequence[Outcome]) -> str:
    parts = [
        f"{o.name} {digits(o.samples_per_second)} "
        f"(workers compute {show_share(o.computing)} of the time)"
        for o in results
        if not math.isnan(o.samples_per_second)
    ]
    return f"Samples per second: {join(parts)}." if parts else "No virtual time passed."
