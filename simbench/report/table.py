"""The table of a report: each strategy's time to target, taken apart exactly."""

import math
import statistics
from collections.abc import Sequence

from simbench.report.outcomes import Outcome
from simbench.report.quantities import digits, show_loss, show_share, show_size, show_time

HEADINGS = (
    "strategy",
    "machines",
    "learning rate",
    "reached",
    "time to target",
    "= samples to target",
    "÷ samples per second",
    "payload to target",
    "mean staleness (updates)",
    "workers computing",
    "workers communicating",
    "workers waiting",
    "final loss",
)


def rows(results: Sequence[Outcome], target: float | None) -> list[tuple[str, ...]]:
    """Return a row for each heading with a column per strategy, and what went wrong if anything."""
    found = list(zip(HEADINGS, *(cells(each, target) for each in results), strict=True))
    place = len(found) - 1
    for what, show in (("accuracy", show_share), ("perplexity", show_loss)):
        ends = [each.final(what) for each in results]
        if any(end is not None for end in ends):
            shown = ("-" if end is None else show(end) for end in ends)
            found.append((f"final {what}", *shown))
    if any(each.down > 0 for each in results):
        found.insert(place, ("workers down", *(show_share(each.down) for each in results)))
        place += 1
    if any("retries" in each.attempts[0].summary for each in results):
        found.insert(place, ("transfers sent again, all seeds", *map(_sent_again, results)))
        place += 1
    if any("left" in each.attempts[0].summary for each in results):
        moved = map(_moved, results)
        found.insert(place, ("workers that left, joined, were restored; all seeds", *moved))
    return found


def _moved(outcome: Outcome) -> str:
    """Return how often workers left, joined and were restored, where the policy isn't to wait."""
    ends = [attempt.summary for attempt in outcome.attempts]
    if "left" not in ends[0]:
        return "all waited"
    return ", ".join(
        f"{sum(end[what] for end in ends):,}" for what in ("left", "joined", "restored")
    )


def _sent_again(outcome: Outcome) -> str:
    """Return how many transfers were cut and sent again, and how many bytes went twice."""
    ends = [attempt.summary for attempt in outcome.attempts]
    size = show_size(sum(end["resent_bytes"] for end in ends))
    return f"{sum(end['retries'] for end in ends):,} ({size} twice)"


def cells(outcome: Outcome, target: float | None) -> list[str]:
    """Return one strategy's row: medians over seeds, shares of the workers' time."""
    ends = [attempt.summary for attempt in outcome.attempts]
    seeds = len(outcome.attempts)
    if target is None:
        reached, time, samples, payload = "no target", "-", "-", "-"
    elif math.isfinite(outcome.time_ns):
        reached = f"{outcome.reached} of {seeds} seeds"
        time, samples = show_time(outcome.time_ns), f"{outcome.samples:,.0f}"
        payload = show_size(outcome.payload_bytes)
    else:
        reached = f"{outcome.reached} of {seeds} seeds"
        time = f"not reached within {show_time(max(end['end_ns'] for end in ends))}"
        samples = f"over {statistics.median(end['samples'] for end in ends):,.0f}"
        payload = f"over {show_size(statistics.median(end['payload_bytes'] for end in ends))}"
    staleness = outcome.mean_staleness_updates
    rates = dict.fromkeys(f"{end['learning_rate']:g}" for end in ends)
    return [
        outcome.name,
        str(outcome.machines),
        ", ".join(rates),
        reached,
        time,
        samples,
        "-" if math.isnan(outcome.samples_per_second) else digits(outcome.samples_per_second),
        payload,
        "no updates" if math.isnan(staleness) else f"{staleness:.1f}",
        show_share(outcome.computing),
        show_share(outcome.communicating),
        show_share(outcome.waiting),
        show_loss(outcome.final_loss),
    ]
