"""The table of a report: each strategy's time to target, taken apart exactly."""

import math
import statistics

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
