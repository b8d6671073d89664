"""The report of a sweep, on records whose times to target are laws that can be solved by hand.

A strategy takes ``start + cost / bandwidth`` seconds (bandwidth in Mbit/s, plus a second a seed),
so where two of them are level is where the answer changes.
"""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from simbench.records import TABLES, RunFolder, arrow
from simbench.report import page as page_module
from simbench.report.figure import house_style, name_ticks, report_figures, sweep_figures
from simbench.report.page import write_report
from simbench.report.points import at_points
from simbench.report.sweep_table import sweep_rows
from simbench.report.verdict import verdict

BUDGET_S = 600
# Seconds without communication, and seconds times Mbit/s.
CHATTY, FRUGAL = (10.0, 1000.0), (30.0, 100.0)
LAWS = {"chatty": CHATTY, "frugal": FRUGAL}
BANDWIDTHS = {"1 Mbit/s": 1.0, "10 Mbit/s": 10.0, "100 Mbit/s": 100.0}
LATENCIES = {"1 ms": 0.001, "1 s": 1.0}
SPEED = {"name": "network.bandwidth", "labels": [*BANDWIDTHS], "numbers": [1e6, 1e7, 1e8]}
FARNESS = {"name": "network.latency", "labels": [*LATENCIES], "numbers": [1e6, 1e9]}
PLACE = {"name": "place", "labels": ["here", "there"], "numbers": None}

Law = Callable[[dict[str, str], str, int], float]


def by_bandwidth(labels, name, seed):
    start, cost = LAWS[name]
    late = 10 * LATENCIES[labels.get("network.latency", "1 ms")] if name == "chatty" else 0
    return start + cost / BANDWIDTHS[labels.get("network.bandwidth", "10 Mbit/s")] + seed + late


@pytest.fixture
def swept(tmp_path: Path):
    """Write a sweep over these axes, whose times follow a law."""

    def write(
        *axes: dict[str, Any],
        law: Law = by_bandwidth,
        target: float | None = 2.5,
        names=("chatty", "frugal"),
    ):
        labels = [each["labels"] for each in axes]
        keys = [each["name"] for each in axes]
        points = [dict(zip(keys, choice, strict=True)) for choice in itertools.product(*labels)]
        runs = [
            _run(point, name, seed, law(point, name, seed))
            for point in points
            for name in names
            for seed in (0, 1)
        ]
        facts = {"workers": 4, "samples_per_step": 8, "target_loss": target}
        facts["budget_ns"] = BUDGET_S * 10**9
        summary = {
            "scenario": "swept",
            **facts,
            "sweep": {"axes": list(axes), "points": [{"labels": p, **facts} for p in points]},
            "runs": runs,
        }
        rows = {name: arrow(name, [], dict.fromkeys(keys, "")) for name in TABLES}
        rows["tuning"] = arrow("tuning", [], {})
        folder = RunFolder(tmp_path / "run")
        folder.write("name: swept\n", rows, summary, {"simbench": "0.1.0"})
        return folder

    return write


def _run(point, name, seed, time_s):
    reached = time_s <= BUDGET_S
    return {
        "point": point,
        "strategy": name,
        "kind": name,
        "seed": seed,
        "learning_rate": 0.1,
        "machines": 4,
        "servers": [],
        "stopped_by": "loss" if reached else "virtual_time",
        "stuck": None,
        "end_ns": round(min(time_s, BUDGET_S) * 1e9),
        "time_to_target_ns": round(time_s * 1e9) if reached else None,
        "final_loss": 2.4 if reached else 3.1,
        "samples": 320,
        "updates": 10,
        "payload_bytes": 1000,
        "mean_staleness_updates": 0.0,
    }


def test_one_axis_of_numbers_tells_from_where_on_another_is_first(swept):
    # Level at 20 = 900 / bandwidth, which is 45 Mbit/s.
    told = verdict(swept(SPEED))

    assert told[0] == (
        "Who reaches loss 2.5 first depends on network.bandwidth: frugal up to 10 Mbit/s, chatty "
        "from 100 Mbit/s on."
    )
    assert told[1:4] == [
        "1 Mbit/s: frugal after 130 s.",
        "10 Mbit/s: frugal after 40.5 s, 2.73 times as fast as chatty (111 s).",
        "100 Mbit/s: chatty after 20.5 s, 1.54 times as fast as frugal (31.5 s).",
    ]
    assert told[4] == "1 Mbit/s: not reached within 600 s: chatty."


def test_that_nobody_arrives_is_said_once_a_point(swept):
    told = verdict(swept(PLACE, law=lambda *_: 1e6, names=("a", "bb")))

    assert told == [
        "No strategy reaches loss 2.5 at any of the 2 points.",
        "here: no strategy reaches it within 600 s.",
        "there: no strategy reaches it within 600 s.",
    ]


def test_who_does_not_arrive_is_said_point_by_point(swept):
    def in_one_seed_there(labels, name, seed):
        return 10.0 if (labels["place"], name, seed) == ("there", "a", 0) else 1e6

    assert verdict(swept(PLACE, law=in_one_seed_there, names=("a", "bb"))) == [
        "No strategy reaches loss 2.5 at any of the 2 points.",
        "here: no strategy reaches it within 600 s.",
        "there: not reached within 600 s: a (reached by 1 of 2 seeds) and bb.",
    ]


def test_a_narrow_panel_names_powers_of_ten_alone():
    named = []
    for narrow in (False, True):
        axes = Figure().subplots()
        axes.set_xscale("log")
        axes.set_xlim(1.5, 300)
        name_ticks(axes.xaxis, narrow=narrow)
        inside = [tick for tick in axes.get_xticks() if 1.5 <= tick <= 300]
        named.append([round(tick) for tick in inside])
    assert named == [[2, 5, 10, 20, 50, 100, 200], [10, 100]]


def test_an_axis_in_another_order_is_told_from_low_to_high(swept):
    backwards = {**SPEED, "labels": SPEED["labels"][::-1], "numbers": SPEED["numbers"][::-1]}

    told = verdict(swept(backwards))

    assert told[0].endswith("frugal up to 10 Mbit/s, chatty from 100 Mbit/s on.")


def test_several_axes_are_told_apart_by_whether_they_change_the_answer(swept):
    told = verdict(swept(SPEED, FARNESS))

    # At 100 Mbit/s, chatty needs 20 s, or 30 s where messages take a second; frugal 31 s.
    assert told[1] == (
        "What changes the answer: along network.bandwidth (at 1 ms) frugal up to 10 Mbit/s, "
        "chatty from 100 Mbit/s on; along network.bandwidth (at 1 s) frugal up to 10 Mbit/s, "
        "chatty from 100 Mbit/s on."
    )
    assert told[2] == "No difference to who is first: network.latency."


def test_a_strategy_that_is_always_first_is_said_once(swept):
    told = verdict(swept(PLACE, law=lambda _, name, seed: 10 * len(name) + seed, names=("a", "bb")))

    assert told[0] == "a reaches loss 2.5 first at each of the 2 points."
    assert not any("changes the answer" in line for line in told)


def test_nobody_arrives_and_nothing_is_aimed_at(swept):
    nobody = swept(PLACE, law=lambda *_: 1e6)
    assert verdict(nobody)[0] == "No strategy reaches loss 2.5 at any of the 2 points."
    aimless = swept(PLACE, target=None, law=lambda *_: 1e6)
    assert verdict(aimless)[0].startswith("The scenario sets no target loss")


def test_a_seed_that_fails_is_counted_and_not_dropped(swept):
    def one_fails(labels, name, seed):
        return 1e6 if (labels["place"], name, seed) == ("there", "a", 1) else 10.0 + seed

    run = swept(PLACE, law=one_fails, names=("a",))

    assert sweep_rows(at_points(run)) == [
        ("strategy", "here", "there"),
        ("a", "10.5 s, first", "not reached within 600 s (reached by 1 of 2 seeds)"),
    ]
    assert "there: not reached within 600 s: a (reached by 1 of 2 seeds)." in verdict(run)[-1]


def test_the_table_turns_where_there_are_more_points_than_fit_beside_each_other(swept):
    narrow = sweep_rows(at_points(swept(SPEED)))
    assert [row[0] for row in narrow] == ["strategy", "chatty", "frugal"]

    wide = sweep_rows(at_points(swept(SPEED, FARNESS, PLACE)))
    assert wide[0] == ("point", "chatty", "frugal")
    assert len(wide) == 1 + 3 * 2 * 2
    assert wide[1] == ("1 Mbit/s, 1 ms, here", "not reached within 600 s", "130 s, first")


@pytest.mark.parametrize(
    ("axes", "kinds"),
    [
        ((PLACE,), ["target_at_points"]),
        ((SPEED,), ["target_at_points", "target_along_axis"]),
        ((PLACE, SPEED), ["target_at_points", "target_along_axis"]),
        ((SPEED, FARNESS), ["who_is_first", "target_at_points"]),
        ((SPEED, PLACE, FARNESS), ["who_is_first", "target_at_points"]),
        (({**SPEED, "labels": ["1 Mbit/s"], "numbers": [1e6]},), ["target_at_points"]),
    ],
    ids=["names", "numbers", "both", "two of numbers", "three", "one value"],
)
@pytest.mark.parametrize("target", [2.5, None])
def test_the_figures_suit_the_axes_and_draw(swept, axes, kinds, target):
    run = swept(*axes, target=target)

    figures = sweep_figures(run)

    assert list(figures) == kinds
    for figure in figures.values():
        with house_style():
            # Layout problems are warnings, thus errors.
            figure.draw(run).draw_without_rendering()


def texts(run, kind):
    with house_style():
        figure = sweep_figures(run)[kind].draw(run)
    return [text.get_text() for panel in figure.axes for text in panel.texts]


def test_the_figure_of_points_says_median_and_what_was_not_reached(swept):
    # The first, at a time with a bold number, then the others in the order of the scenario.
    assert texts(swept(SPEED), "target_at_points") == [
        "→ not within 600 s", "130",
        "111", "40.5",
        "20.5", "31.5",
    ]  # fmt: skip


def test_the_map_shows_each_winner_at_its_cell(swept):
    run = swept(SPEED, FARNESS)
    with house_style():
        figure = sweep_figures(run)["who_is_first"].draw(run)
    (panel,) = figure.axes

    drawn = {(line.get_xdata()[0], line.get_ydata()[0]): line.get_marker() for line in panel.lines}

    frugal, chatty = "s", "o"
    assert drawn == {
        (column, row): chatty if column == 2 else frugal
        for column in range(3)
        for row in range(2)
    }  # fmt: skip
    assert [text.get_text() for text in panel.get_xticklabels()] == [*BANDWIDTHS]


@pytest.fixture
def no_pages(monkeypatch):
    """Draw no figure of a single point: each takes about a second."""
    monkeypatch.setattr(page_module, "report_figures", dict)


@pytest.mark.usefixtures("no_pages")
def test_the_page_links_to_a_page_of_each_point(swept, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "_MOST_PAGES", 2)
    run = swept(SPEED)

    page = write_report(run, tmp_path / "report")

    text = page.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', text)
    assert links[0] == "points/01-1-mbit-s/index.html"
    assert len(links) == 2
    assert all((page.parent / link).is_file() for link in links)
    assert "The first 2 of 3 points have a page." in text
    assert "3 points (3 of network.bandwidth)" in text
    assert "budget 600 s of virtual time" in text
    point = (page.parent / links[0]).read_text(encoding="utf-8")
    assert "one point of a sweep: 1 Mbit/s" in point
    twin = (page.parent / "README.md").read_text(encoding="utf-8")
    resolved = re.findall(r"\]\(([^)]+)\)", twin)
    assert all((page.parent / link).is_file() for link in resolved)
    assert all(before == "" for before in re.findall(r"(.*)\n## ", twin))


@pytest.mark.usefixtures("no_pages")
def test_points_of_an_earlier_report_do_not_stay(swept, tmp_path):
    old = tmp_path / "report" / "points" / "09-gone"
    old.mkdir(parents=True)

    write_report(swept(PLACE, law=lambda *_: 5.0), tmp_path / "report")

    assert not old.exists()


def test_a_run_without_a_sweep_has_the_figures_of_one(make_run):
    assert sweep_figures(make_run()) == {}
    assert not set(report_figures()) & {"target_at_points", "target_along_axis", "who_is_first"}
