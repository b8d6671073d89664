"""Every figure draws whatever happened, and leaves nothing behind."""

import math
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import _pylab_helpers

from simbench.report.figure import house_style, pictures, report_figures
from simbench.report.figures.timeline import window
from simbench.report.loss_curves import _on_common_grid
from simbench.report.nodes import label, shown, slowness

FIGURES = report_figures()

RUNS = {
    "as usual": {},
    "one seed": {"seeds": (3,)},
    "no target": {"target": None},
    "nothing reached": {"target": -9.0},
    "no updates": {"most_steps": 0},
    "one update": {"most_steps": 1},
}


def test_they_stand_in_order():
    assert list(FIGURES) == [
        "loss_against_time",
        "time_to_target",
        "loss_against_samples",
        "loss_against_bytes",
        "where_time_went",
        "timeline",
        "staleness",
    ]


@pytest.mark.parametrize("name", [*RUNS, "one strategy"])
def test_every_figure_draws(make_run, stale, name):
    run = make_run(**RUNS.get(name, {"courses": [stale]}))
    before = dict(mpl.rcParams)

    for figure in FIGURES.values():
        with house_style():
            # With the text where it will stand: layout problems are warnings, thus errors.
            figure.draw(run).draw_without_rendering()

    assert dict(mpl.rcParams) == before
    assert not _pylab_helpers.Gcf.figs


@pytest.mark.parametrize("kind", ["where_time_went", "timeline"])
@pytest.mark.parametrize("down", [0.0, 0.2])
def test_being_down_is_explained_where_a_node_was(make_run, alone, kind, down):
    with house_style():
        drawn = FIGURES[kind].draw(make_run([replace(alone, down=down)]))
        drawn.draw_without_rendering()

    names = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert ("down" in names) == bool(down)
    assert names[:5] == ["compute", "send", "receive", "send and receive", "wait"]


def test_a_panel_without_a_strategy_is_hidden(make_run, alone):
    four = [replace(alone, name=str(number)) for number in range(4)]

    with house_style():
        drawn = FIGURES["where_time_went"].draw(make_run(four))

    assert [axes.get_visible() for axes in drawn.axes] == [True] * 4 + [False] * 2


def test_losses_that_are_no_numbers_or_far_apart_draw(make_run, alone):
    broken = replace(alone, name="broken", fall=math.nan)
    wild = replace(alone, name="wild", fall=-1e9, step_s=0.01)
    run = make_run([alone, broken, wild])

    for figure in FIGURES.values():
        with house_style():
            figure.draw(run).draw_without_rendering()
    with house_style():
        axes = FIGURES["loss_against_time"].draw(run).axes[0]
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize("kind", FIGURES)
def test_axes_have_names_and_units(make_run, kind):
    with house_style():
        drawn = FIGURES[kind].draw(make_run())
        labels = [axes.get_xlabel() for axes in drawn.axes] + [drawn.get_supxlabel()]

    assert any("(" in text for text in labels)


def test_what_was_not_reached_is_written_down(make_run):
    with house_style():
        axes = FIGURES["time_to_target"].draw(make_run()).axes[0]

    written = [text.get_text() for text in axes.texts]
    assert "median 5.50 s" in written
    assert "not reached within 12.0 s in 2 of 2 seeds" in written


def test_where_nothing_is_stale_one_sentence_says_so(make_run, alone):
    with house_style():
        (panel,) = FIGURES["staleness"].draw(make_run([alone, replace(alone, name="other")])).axes

    (text,) = panel.texts
    assert text.get_text().startswith("every update was computed from the newest parameters")


def test_server_and_straggler_can_be_told(make_run):
    with house_style():
        axes = FIGURES["where_time_went"].draw(make_run()).axes[0]

    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["node 0", "node 1", "node 2", "node 3 (3.0x slower)", "server"]
    assert label(2, servers=[2], slow={2: 2.0}, workers=4) == "node 2 (2.0x slower, server)"


def test_the_same_strategy_has_the_same_colour_everywhere(make_run):
    run = make_run()
    with house_style():
        staleness = FIGURES["staleness"].draw(run)
        timeline = FIGURES["timeline"].draw(run)

    for first, second in zip(staleness.axes, timeline.axes, strict=True):
        # Titles are on the left.
        assert first.get_title(loc="left") == second.get_title(loc="left")
        assert first._left_title.get_color() == second._left_title.get_color()


def test_slow_nodes_are_measured(make_run, alone):
    run = make_run([alone])
    assert slowness(run, run.table("spans")) == {3: pytest.approx(3.0)}


def test_many_nodes_are_thinned_but_the_special_ones_stay():
    some = shown(list(range(1000)), {7, 999})
    assert {0, 7, 999} <= set(some)
    assert len(some) <= 26


def test_the_window_lies_inside_of_every_run_and_holds_five_rounds(make_run, alone, stale):
    run = make_run([alone, stale], seeds=(0,))
    start, end = window(run.table("spans"), run.table("updates"))
    assert (start, end) == (0, 5 * 10**9)

    run = make_run(seeds=(0,), target=None)
    start, end = window(run.table("spans"), run.table("updates"))
    assert (start, end) == (10**9, 11 * 10**9)


def test_a_crowded_window_is_cut():
    ends = np.arange(1, 50_001)
    spans = pd.DataFrame(
        {"strategy": "one", "node": 0, "start_ns": ends - 1, "end_ns": ends, "activity": "compute"}
    )
    updates = pd.DataFrame({"strategy": "one", "node": None, "time_ns": [10_000, 20_000, 30_000]})

    start, end = window(spans, updates)

    assert 1000 < end - start <= 3000
    assert (start + end) // 2 == pytest.approx(25_000, abs=1)


def test_a_window_of_many_strategies_is_cut_to_what_all_of_them_hold():
    ends = np.tile(np.arange(1, 2001), 12)
    names = np.repeat([f"strategy {number}" for number in range(12)], 2000)
    spans = pd.DataFrame(
        {"strategy": names, "node": 0, "start_ns": ends - 1, "end_ns": ends, "activity": "compute"}
    )
    updates = pd.DataFrame({"strategy": "strategy 0", "node": None, "time_ns": [400, 800, 1200]})

    start, end = window(spans, updates)

    assert 12 * (end - start) <= 4500 < 24 * (end - start)


def test_bands_are_computed_where_all_seeds_run():
    data = pd.DataFrame(
        {
            "strategy": "one",
            "seed": [0, 0, 0, 1, 1],
            "x": [0.0, 2.0, 4.0, 0.0, 3.0],
            "loss": [4.0, 2.0, 0.0, 6.0, 0.0],
        }
    )

    common = _on_common_grid(data)

    assert common[common["seed"] == 0]["loss"].tolist() == [4.0, 2.0, 1.0]
    assert common[common["seed"] == 1]["loss"].tolist() == [6.0, 2.0, 0.0]


def test_pictures_do_not_depend_on_the_users_settings(make_run):
    run = make_run(most_steps=2)
    figure = FIGURES["time_to_target"]
    usual = pictures(figure, run)

    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        assert pictures(figure, run) == usual
