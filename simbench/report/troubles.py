"""What went wrong in a run, moment by moment, and what was made of it: read from the events."""

from collections.abc import Sequence

from simbench.records import RunFolder
from simbench.report.nodes import strategies
from simbench.report.quantities import join, show_time

MOST = 40
"""More rows than this nobody reads; the table of events has them all."""

_SAID = {
    "down": "{subject} is down",
    "up": "{subject} is up again",
    "left": "{subject} is no member any more: the others know, and go on without it",
    "joined": "{subject} is a member again, and is sent the state",
    "restored": "{subject} has a state and goes on from there",
}


def troubles(run: RunFolder) -> list[tuple[str, ...]]:
    """Return a heading and rows: when, with which strategies, what; nothing if nothing happened.

    They are those of the first seed. Transfers that were cut aren't told one by one.
    """
    events = run.table("events")
    if events.empty:
        return []
    events = events[events["seed"] == events["seed"].min()]
    moments: dict[tuple[int, str, str], list[str]] = {}
    for each in events.sort_values("time_ns", kind="stable").itertuples():
        if each.what not in ("cut", "again", "dropped"):
            moments.setdefault((each.time_ns, each.subject, each.what), []).append(each.strategy)
    every = strategies(run)
    rows = [
        (show_time(time_ns), _who(names, every), _say(subject, what))
        for (time_ns, subject, what), names in moments.items()
    ]
    more = len(rows) - MOST
    if more > 0:
        rows[MOST:] = [("later", "", f"{more:,} more, which events.parquet holds")]
    return [("virtual time", "strategies", "what happened"), *rows]


def _who(names: Sequence[str], every: Sequence[str]) -> str:
    found = [name for name in every if name in names]
    return "all" if len(found) == len(every) else join(found)


def _say(subject: str, what: str) -> str:
    return _SAID.get(what, "{subject}: {what}").format(subject=subject, what=what)
