"""The search before a comparison: what was tried for each strategy, and what was chosen."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from simbench.records import RunFolder
from simbench.report.quantities import join, show_loss, show_time

HEADINGS = ("strategy", "tried", "time to target", "loss at the end", "")


def tuning_table(run: RunFolder) -> list[tuple[str, ...]]:
    """Return the table of the search, headings first; nothing where there was none."""
    trials = run.table("tuning")
    if trials.empty:
        return []
    told = run.summary["tuning"]["strategies"]
    found: list[tuple[str, ...]] = [HEADINGS]
    for trial in trials.to_dict("records"):
        time_ns, end_ns = trial["time_to_target_ns"], trial["end_ns"]
        short = f"not reached within {show_time(end_ns)}"
        chosen = ["chosen", *_notes(told[trial["strategy"]])] if trial["chosen"] else []
        found.append(
            (
                trial["strategy"],
                trial["settings"],
                short if pd.isna(time_ns) else show_time(time_ns),
                show_loss(trial["loss"]),
                "; ".join(chosen),
            )
        )
    return found


def tuning_note(run: RunFolder) -> str:
    """Return where and how was searched, if it was."""
    facts = run.summary.get("tuning")
    if facts is None:
        return ""
    place = f" at {', '.join(facts['at'].values())}" if facts["at"] else ""
    own = f" on a network of its own ({facts['own_network']})" if facts["own_network"] else ""
    return (
        f"Before the comparison, each candidate ran by itself{place}{own}, on seed "
        f"{facts['seed']}, which isn't compared. The best reaches the target first; where none "
        "does, it ends at the lowest loss."
    )


def tuning_verdict(run: RunFolder) -> list[str]:
    """Return what a verdict must say of the search: where it may have stopped short."""
    strategies = run.summary.get("tuning", {}).get("strategies", {})
    edges = [name for name, told in strategies.items() if told["at_edge"]]
    bad = [name for name, told in strategies.items() if told["diverged"]]
    lines = []
    if edges:
        lines.append(
            f"The search chose a value at the edge of its grid for {join(edges)}: a better one may "
            "lie beyond."
        )
    if bad:
        lines.append(f"The search found nothing that trains for {join(bad)}.")
    return lines


def _notes(told: Mapping[str, Any]) -> list[str]:
    edges = [f"{key} is the {end} of its grid" for key, end in told["at_edge"].items()]
    ties = [f"{text} is as good" for text in told["ties"]]
    return [*edges, *ties, *(["no candidate ends at a number"] if told["diverged"] else [])]
