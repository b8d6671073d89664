"""What went wrong is told moment by moment, once for all strategies that met it."""

import pytest

from simbench.records import TABLES, Happening, RunFolder
from simbench.report.troubles import MOST, troubles

S = 10**9


@pytest.fixture
def told(tmp_path):
    """Return what is told of events: (strategy, seed, seconds, subject, what)."""

    def tell(*events):
        rows = {name: [] for name in TABLES} | {
            "events": [
                Happening(strategy, seed, at * S, "kind", subject, what, None, None)
                for strategy, seed, at, subject, what in events
            ]
        }
        folder = RunFolder(tmp_path / "run")
        runs = [{"strategy": name, "seed": 0} for name in ("one", "other")]
        folder.write("", rows, {"runs": runs}, {})
        return troubles(folder)

    return tell


def test_what_happened_is_told_in_order_and_who_met_it(told):
    heading, *rows = told(
        ("one", 0, 5, "node 3", "down"),
        ("one", 0, 6, "node 3", "left"),
        ("one", 0, 6, "3 -> 1", "dropped"),
        ("other", 0, 5, "node 3", "down"),
        ("other", 1, 2, "node 2", "down"),
        ("one", 0, 9, "3 - switch", "1 Mbit/s"),
    )

    assert heading == ("virtual time", "strategies", "what happened")
    assert rows == [
        ("5.00 s", "all", "node 3 is down"),
        ("6.00 s", "one", "node 3 is no member any more: the others know, and go on without it"),
        ("9.00 s", "one", "3 - switch: 1 Mbit/s"),
    ]


def test_what_nobody_would_read_is_counted(told):
    rows = told(*(("one", 0, at, "node 3", "down") for at in range(MOST + 5)))

    assert len(rows) == 1 + MOST + 1
    assert rows[-1][2] == "5 more, which events.parquet holds"


def test_nothing_is_told_of_a_run_in_which_nothing_happened(told):
    assert told() == []
