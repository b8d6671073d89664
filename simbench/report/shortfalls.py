"""What a verdict must not leave out: who did not arrive, who is stuck, who had more machines."""

import math
from collections.abc import Sequence

from simbench.report.outcomes import Attempt, Outcome
from simbench.report.quantities import join, show_loss, show_time


def failures(results: Sequence[Outcome]) -> list[str]:
    """Return who, and within what, did not reach the target."""
    return [_failure(outcome) for outcome in results if outcome.reached < len(outcome.attempts)]


def _failure(outcome: Outcome) -> str:
    failed = [attempt for attempt in outcome.attempts if not attempt.reached]
    latest = {a.summary["stopped_by"]: a for a in sorted(failed, key=lambda a: a.summary["end_ns"])}
    within = join(list(dict.fromkeys(_limit(attempt) for attempt in latest.values())))
    seeds = len(outcome.attempts)
    some = f"{len(failed)} of {seeds}" if len(failed) < seeds else f"any of {seeds}"
    some = f" in {some} seeds" if seeds > 1 else ""
    ends = [attempt.summary["final_loss"] for attempt in failed]
    finite = [loss for loss in ends if loss is not None and math.isfinite(loss)]
    lowest = "lowest loss at the end " if len(failed) > 1 else "loss at the end "
    lowest += show_loss(min(finite, default=math.nan))
    return f"{outcome.name} does not reach it within {within}{some} ({lowest})."


def _limit(attempt: Attempt) -> str:
    stopped_by = attempt.summary["stopped_by"]
    if stopped_by in ("samples", "updates"):
        return f"{attempt.summary[stopped_by]:,} {stopped_by}"
    return show_time(attempt.summary["end_ns"])


def stuck(results: Sequence[Outcome]) -> list[str]:
    """Return who waits for whom, of the first seed on which a strategy got stuck."""
    lines = []
    for outcome in results:
        halted = [attempt for attempt in outcome.attempts if attempt.summary["stuck"]]
        if halted:
            first = halted[0].summary
            more = f" (and on {len(halted) - 1} more)" if len(halted) > 1 else ""
            who = str(first["stuck"]).rstrip(".")
            where = f"on seed {first['seed']}{more} at {show_time(first['end_ns'])}"
            lines.append(f"{outcome.name} is stuck {where}: {who}.")
    return lines


def machines(results: Sequence[Outcome], workers: int) -> list[str]:
    """Return which strategies took more machines than there are workers."""
    more = [o for o in results if o.machines > workers]
    if not more:
        return []
    each = sorted({o.machines for o in more})
    one = each == [workers + 1]
    extra = "whose server is one machine more" if one else "whose servers are machines of their own"
    count = join([str(number) for number in each])
    text = f"Machines: {count} for {join([o.name for o in more])}, {extra}"
    return [f"{text}; else {workers}." if len(more) < len(results) else f"{text}."]
