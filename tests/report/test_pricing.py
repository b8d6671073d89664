"""Reports say what was trained and what was charged."""

import json

import pytest

from simbench.report.pricing import pricing
from simbench.report.verdict import verdict
from simbench.report.words import meanings

LLAMA = {
    "trained": "gpt",
    "trained_parameters": 250_112,
    "model": "Llama 3 8B",
    "parameters": 8_030_261_248,
    "precision": "bf16",
    "flops": 48_181_567_488,
    "unit": "token",
    "source": "somebody's table 3",
}
WORDS = (
    "Trained: gpt of 250 k parameters; clock and bytes are those of Llama 3 8B, 8.03 B parameters "
    "in bf16, 48.2 B FLOPs per token (somebody's table 3)."
)


@pytest.fixture
def priced_run(make_run):
    """Make a run of which the summary tells what was charged."""

    def make(**facts):
        run = make_run()
        file = run.path / "summary.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | facts))
        return run

    return make


def test_the_verdict_and_the_page_say_so(priced_run):
    run = priced_run(priced_as=LLAMA)

    assert verdict(run)[-1] == WORDS
    meaning = meanings(run)["Priced as another model"]
    assert meaning.startswith(f"{WORDS} Losses are those of the model that was trained.")


def test_what_devices_split_is_the_model_that_is_charged(priced_run):
    group = {"devices": 8, "step_ns": 10**9, "bubble_share": 0.25}

    own, charged = (
        meanings(priced_run(group=group, **facts))["Devices"]
        for facts in ({}, {"priced_as": LLAMA})
    )

    assert charged.startswith(own)
    assert charged.endswith(
        "gradients of the small one are computed whole, since its parts would give the same."
    )


def test_without_a_source_it_is_the_scenarios_own(priced_run):
    assert pricing(priced_run(priced_as=LLAMA | {"source": None})).endswith(
        "(as the scenario gives it)."
    )


def test_without_a_price_nothing_is_said(make_run):
    run = make_run()

    assert pricing(run) is None
    assert not any("Trained" in line for line in verdict(run))


def test_a_sweep_over_prices_tells_them_point_by_point(priced_run):
    points = [{"labels": {"task": "small"}}, {"labels": {"task": "large"}, "priced_as": LLAMA}]
    axes = [{"name": "task", "labels": ["small", "large"], "numbers": None}]

    told = pricing(priced_run(sweep={"axes": axes, "points": points}, runs=[]))

    assert told == (f"At small: what is charged is what is trained. At large: t{WORDS[1:]}")


def test_a_sweep_over_networks_tells_it_once(priced_run):
    points = [{"labels": {"net": each}, "priced_as": LLAMA} for each in ("a", "b")]
    axes = [{"name": "net", "labels": ["a", "b"], "numbers": None}]

    assert pricing(priced_run(sweep={"axes": axes, "points": points}, runs=[])) == WORDS
