"""run, plan and report of a scenario with a sweep and a search."""

import json
import re

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from simbench.scenario_file import dump, load

SECTIONS = """\
sweep:
  network:
    near: {kind: star, bandwidth: 1 Gbit/s, latency: 20 us}
    far: {kind: star, bandwidth: 1 kbit/s, latency: 40 ms}
"""
SEARCH = """\
tune: {keys: {learning_rate: [0.1, 0.5, 1.9]}, strategies: {asynchronous: {}}, at: {network: far}}
"""


@pytest.fixture
def swept(tiny, tmp_path):
    """Write the smallest scenario of all three families on two networks."""
    text = (tmp_path / tiny).read_text()
    (tmp_path / "swept.yaml").write_text(text + SECTIONS)
    (tmp_path / "tuned.yaml").write_text(text + SECTIONS + SEARCH)
    return "swept.yaml"


@pytest.mark.usefixtures("no_figures")
def test_run_searches_first_and_says_who_is_first_where(simbench, swept):
    assert swept == "swept.yaml"
    words = ("run", "tuned.yaml", "--executor", "local", "--seed", 0)

    said = simbench(*words)

    assert said.code == 0
    assert "2 points x 3 strategies x 1 seed, after a search of 6 candidates on" in said.err
    assert "Who reaches loss 0.5 first" in said.out or "reaches loss 0.5 first at each" in said.out
    assert re.search(r"^near: .* after \d+ ms", said.out, re.MULTILINE)
    assert re.search(r"^far: .* after ", said.out, re.MULTILINE)
    again = simbench(*words, "--json")
    assert "is whole already, so nothing is computed" in again.err
    told = json.loads(again.out)
    assert "\n".join(told["verdict"]) in said.out
    found = told["tuning"]["strategies"]
    assert {name: each["settings"] for name, each in found.items()} == {
        "parameter server": "learning_rate: 0.5",
        "averaging [2]": "learning_rate: 0.5",
    }
    assert {each["learning_rate"] for each in told["runs"]} == {0.5, 0.1}
    assert {each["point"]["network"] for each in told["runs"]} == {"near", "far"}


def test_plan_shows_every_point(simbench, swept):
    said = simbench("plan", swept)

    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    near, far = said.out.index("near:\n"), said.out.index("far:\n")
    assert 0 < near < far
    assert said.out.count("averaging [2]") == 2
    # Without jitter, every strategy trains the same at both points.
    all_in_all, known = re.search(
        r"(\d+) gradients in all, (\d+) of them\s+known already or from another point", said.out
    ).groups()
    assert int(known) * 2 == int(all_in_all)


def test_plan_tells_programs_point_and_search(simbench, swept):
    assert swept == "swept.yaml"
    plans = json.loads(simbench("plan", "tuned.yaml", "--json").out)

    compared = [each for each in plans if "search" not in each]
    assert [each["point"]["network"] for each in compared] == 6 * ["near"] + 6 * ["far"]
    searched = [each for each in plans if "search" in each]
    assert [each["seed"] for each in searched] == 6 * [100]
    assert all(each["gradients"] == 12 * 4 for each in searched)
    assert "The search tries 6" in simbench("plan", "tuned.yaml").out


def test_plan_draws_the_first_point_and_says_so(simbench, swept, tmp_path):
    said = simbench("plan", swept, "--draw", "drawn.svg")

    assert "drawing: drawn.svg (of near)" in said.err
    assert (tmp_path / "drawn.svg").is_file()


def test_a_scenario_with_sections_that_are_wrong_is_one_message(simbench, swept, tmp_path):
    text = (tmp_path / swept).read_text().replace("latency: 40 ms", "latency: 40")
    (tmp_path / "wrong.yaml").write_text(text)

    said = simbench("run", "wrong.yaml", "--executor", "local")

    assert said.code == 2
    assert "wrong.yaml:21: sweep.network.far.latency: expected a number and one of h" in said.err
    assert said.err.count("simbench:") == 1


def test_the_schema_accepts_both_sections_and_refuses_nonsense(simbench, swept, tmp_path):
    assert swept == "swept.yaml"
    accepted = Draft202012Validator(json.loads(simbench("schema").out))
    yaml = YAML(typ="safe")
    written = yaml.load(tmp_path / "tuned.yaml")

    accepted.validate(written)
    accepted.validate(yaml.load(dump(load(tmp_path / "tuned.yaml"))))
    for wrong in (
        {"sweep": []},
        {"sweep": {"network.bandwidth": []}},
        {"sweep": {"network": [{"kind": "star"}]}},
        {"tune": {"keys": {"learning_rate": []}}},
        {"tune": {"sed": 3}},
    ):
        assert not accepted.is_valid(written | wrong), wrong
