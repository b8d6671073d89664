"""The clock plane against numbers found by hand.

Four workers take 0.1 s per step; a vector of 10 float32 is 40 bytes, and 0.32 s on a link of
1 kbit/s, whose latency is 1 ms.
"""

import json
import re
from collections import Counter

import pytest

from simbench.cli import _terminal
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

STEP_S, LATENCY_S, VECTOR_S, VECTOR_BYTES, WORKERS, BATCH = 0.1, 0.001, 0.32, 40, 4, 2


class Observing(Averaging):
    def work(self, node):
        node.observe(node.initial_state().parameters)
        yield from super().work(node)


class Waiting(ParameterServer):
    def serve(self, node):
        yield node.receive("an answer", sender=2)


@pytest.fixture
def replace_strategies(monkeypatch):
    """Have the scenario's file name strategies that no file can name."""
    read = _terminal.read_scenario

    def replace(**strategies):
        monkeypatch.setattr(
            _terminal,
            "read_scenario",
            lambda *words: read(*words).model_copy(update={"strategies": strategies}),
        )

    return replace


def test_plan_tells_what_formulas_tell(simbench, tiny):
    sets = ["--set", "strategies={ps: {kind: parameter_server}, all: {kind: averaging}}"]
    said = simbench("plan", tiny, "--json", "--set", "stop.updates=10", *sets)

    plans = {(each["strategy"], each["seed"]): each for each in json.loads(said.out)}
    assert sorted(plans) == [("all", 0), ("all", 1), ("ps", 0), ("ps", 1)]
    for seed in (0, 1):
        averaging, server = plans["all", seed], plans["ps", seed]
        ring_s = 2 * (WORKERS - 1) * (LATENCY_S + VECTOR_S / WORKERS)
        assert averaging["seconds_per_round"] == pytest.approx(STEP_S + ring_s, rel=1e-9)
        assert averaging["compute_share"] == pytest.approx(STEP_S / (STEP_S + ring_s))
        # Every byte of a vector but one p-th goes around twice.
        sent = 2 * (WORKERS - 1) * VECTOR_BYTES
        assert averaging["payload_bytes_per_sample"] == pytest.approx(sent / (WORKERS * BATCH))
        # All workers share the server's link both ways; the last model isn't waited for.
        crossing_s = LATENCY_S + WORKERS * VECTOR_S
        rounds_s = 10 * STEP_S + 19 * crossing_s
        assert server["seconds_per_round"] == pytest.approx(rounds_s / 10, rel=1e-9)
        assert server["payload_bytes_per_sample"] == 2 * VECTOR_BYTES / BATCH
        assert (averaging["machines"], server["machines"]) == (4, 5)
        for each in (averaging, server):
            assert each["ended_by"] == "updates"
            assert each["samples"] == 10 * WORKERS * BATCH
            assert each["samples_per_s"] == pytest.approx(
                WORKERS * BATCH / each["seconds_per_round"]
            )
            assert each["mean_staleness_updates"] == 0
            assert (each["gradients"], each["gradients_known"]) == (10 * WORKERS, 0)


def test_plan_tells_the_staleness_of_equal_workers(simbench, tiny):
    budget = ("--set", "stop={updates: 400}", "--set", "strategies={a: {kind: asynchronous}}")
    (plan,) = json.loads(simbench("plan", tiny, "--json", *budget, "--seed", 0).out)

    # Each meets one push of each other worker; the first round had less.
    assert plan["mean_staleness_updates"] == pytest.approx(
        (0 + 1 + 2 + 3 + (400 - 4) * (WORKERS - 1)) / 400
    )


@pytest.mark.usefixtures("no_figures")
def test_plan_knows_what_was_trained(simbench, tiny):
    simbench("run", tiny, "--executor", "local", "--set", "stop={updates: 12}")

    plans = json.loads(simbench("plan", tiny, "--json", "--set", "stop={updates: 12}").out)

    assert all(each["gradients_known"] == each["gradients"] > 0 for each in plans)


def test_the_table_has_one_row_per_strategy_and_fits_80_columns(simbench, tiny):
    said = simbench("plan", tiny)

    assert said.code == 0
    assert said.err == ""
    assert max(map(len, said.out.splitlines())) <= 80
    rows = Counter(
        name
        for name in ("parameter server", "averaging [2]", "asynchronous")
        for line in said.out.splitlines()
        if line.strip().startswith(name)
    )
    assert set(rows.values()) == {1}
    assert len(rows) == 3
    assert "…" not in said.out
    assert re.search(r"^\d+ gradients in all, 0 of them known", said.out, re.MULTILINE)


def test_beside_a_column_for_nodes_that_are_down_names_stay_whole(simbench, tiny):
    down = ("--set", "conditions=[{kind: node_failure, nodes: [1], at: 300 ms, until: 500 ms}]")

    said = simbench("plan", tiny, *down)

    heading = next(line for line in said.out.splitlines() if line.startswith("strategy"))
    assert " down " in heading
    assert max(map(len, said.out.splitlines())) <= 80
    for name in ("parameter server", "averaging [2]", "asynchronous"):
        assert any(line.startswith(f"{name} ") for line in said.out.splitlines())


def test_a_strategy_that_looks_at_numbers_is_refused(simbench, tiny, replace_strategies):
    replace_strategies(curious=Observing())

    said = simbench("plan", tiny)

    assert said.code == 2
    assert "strategy 'curious' looks at a number" in said.err
    assert said.out == ""


def test_a_stuck_strategy_is_told_with_who_waits_for_whom(simbench, tiny, replace_strategies):
    replace_strategies(fine=Averaging(), patient=Waiting())

    said = simbench("plan", tiny, "--json")

    assert said.code == 1
    assert "patient gets stuck: node 0 for a message 'model' from node 4; " in said.err
    assert "node 4 for a message 'an answer' from node 2" in said.err
    plans = {each["strategy"]: each for each in json.loads(said.out)}
    assert plans["fine"]["stuck"] is None
    assert plans["patient"]["seconds_per_round"] is None
    assert plans["patient"]["stuck"] in said.err
    assert simbench("plan", tiny).code == 1


def test_plan_tells_the_busiest_link(simbench, tiny):
    (plan,) = json.loads(
        simbench("plan", tiny, "--json", "--seed", 0, "--set", "stop={updates: 10}", "--set",
                 "strategies={ps: {kind: parameter_server}}").out
    )  # fmt: skip

    busiest = plan["busiest_link"]
    assert (busiest["tail"], busiest["head"]) == ("switch", 4)
    assert busiest["rate_bps"] == 1000
    # Of ten rounds, the pushes of each take as long as 4 vectors on the server's link.
    seconds = plan["end_ns"] / 1e9
    assert busiest["share"] == pytest.approx(10 * WORKERS * VECTOR_S / seconds, rel=1e-6)
    assert "links" not in plan


def test_the_table_tells_how_much_of_the_busiest_link_is_used(simbench, tiny):
    words = ("plan", tiny, "--seed", 0, "--set", "strategies={ps: {kind: parameter_server}}")
    (plan,) = json.loads(simbench(*words, "--json").out)

    said = simbench(*words)
    without = simbench(*words, "--set", "network={kind: instant}")

    (row,) = (line.split() for line in said.out.splitlines() if line.startswith("ps "))
    assert row[6] == f"{plan['busiest_link']['share']:.0%}"
    (row,) = (line.split() for line in without.out.splitlines() if line.startswith("ps "))
    assert row[6] == "-"


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_plan_draws_the_network(simbench, tiny, tmp_path, suffix):
    said = simbench("plan", tiny, "--draw", f"drawings/network.{suffix}")

    assert said.code == 0
    assert f"drawing: drawings/network.{suffix}" in said.err
    drawn = (tmp_path / "drawings" / f"network.{suffix}").read_bytes()
    assert drawn.startswith({"svg": b"<?xml", "png": b"\x89PNG"}[suffix])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--draw", "network.jpg"), "expected a file that ends in .svg or .png"),
        (("--draw", "a.svg", "--set", "network={kind: instant}"), "instant has no links to draw"),
    ],
)
def test_what_can_not_be_drawn_is_refused_before_the_clock_runs(simbench, tiny, words, message):
    said = simbench("plan", tiny, *words)

    assert said.code == 2
    assert message in said.err
    assert said.out == ""
