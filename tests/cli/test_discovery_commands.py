"""list, schema and init: what a scenario may hold, for people, programs and editors."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from simbench.scenario import CHOICES
from simbench.scenario_file import load
from simbench.spec import discover

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))


@pytest.fixture
def schema(simbench):
    return json.loads(simbench("schema").out)


def test_list_shows_every_kind_that_is_discovered(simbench):
    discovered = {
        (key, kind) for key, (package, base) in CHOICES.items() for kind in discover(package, base)
    }

    as_json, as_table = simbench("list", "--json"), simbench("list")

    listed = json.loads(as_json.out)
    assert {(each["key"], each["kind"]) for each in listed} == discovered
    assert all(each["about"] and "`" not in each["about"] for each in listed)
    for key, kind in discovered:
        assert any(key in line and f" {kind} " in line for line in as_table.out.splitlines())
    assert max(map(len, as_table.out.splitlines())) <= 80


def test_list_of_one_key_shows_its_kinds_alone(simbench):
    listed = json.loads(simbench("list", "network", "--json").out)

    assert {each["key"] for each in listed} == {"network"}


def test_the_schema_is_one(schema):
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_the_schema_accepts_every_scenario_as_written_and_as_resolved(schema, file):
    accepted = Draft202012Validator(schema)

    accepted.validate(YAML(typ="safe").load(file))
    accepted.validate(load(file).model_dump(mode="json"))


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        (("network", "latency"), 5),
        (("network", "latency"), "5 sec"),
        (("network", "bandwith"), "1 Gbit/s"),
        (("network", "kind"), "sta"),
        (("cluster", "nodes"), 0),
        (("strategies",), {}),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(schema, keys, wrong):
    scenario = load(SCENARIOS[0]).model_dump(mode="json")
    inner = scenario
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = wrong

    assert not Draft202012Validator(schema).is_valid(scenario)


def test_every_default_in_the_schema_would_do_in_a_file(schema):
    with_defaults = [
        (f"{name}.{key}", described)
        for name, spec in [*schema["$defs"].items(), ("Scenario", schema)]
        for key, described in spec["properties"].items()
        if "default" in described
    ]

    assert len(with_defaults) > 30
    for name, described in with_defaults:
        rule = {**{k: v for k, v in described.items() if k != "default"}, "$defs": schema["$defs"]}
        assert Draft202012Validator(rule).is_valid(described["default"]), name
    defaults = dict(with_defaults)
    assert defaults["Fixed.step_time"]["default"] == "100 ms"
    assert defaults["Star.bandwidth"]["default"] == "1 Gbit/s"
    assert defaults["Scenario.network"]["default"]["latency"] == "1 ms"


def test_init_writes_a_scenario_that_loads_and_plans(simbench, tmp_path):
    said = simbench("init", "new.yaml")

    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("wrote new.yaml; next: simbench plan new.yaml")
    load(tmp_path / "new.yaml")
    budget = ("--set", "stop.virtual_time=1 s", "--seed", 0)
    assert simbench("plan", "new.yaml", *budget).code == 0


def test_init_never_overwrites(simbench, tmp_path):
    (tmp_path / "scenario.yaml").write_text("mine")

    said = simbench("init")

    assert said.code == 2
    assert said.err == "simbench: scenario.yaml exists already; name another file\n"
    assert (tmp_path / "scenario.yaml").read_text() == "mine"


def test_init_can_only_write_where_there_is_a_folder(simbench):
    said = simbench("init", "no/such/folder.yaml")

    assert said.code == 2
    assert "no/such/folder.yaml: can't be written: No such file or directory" in said.err
