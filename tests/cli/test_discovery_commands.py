"""list, schema and init: what a scenario may hold, for people, programs and editors."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from simbench.cli._keys import keys_of
from simbench.scenario import CHOICES
from simbench.scenario_file import load
from simbench.spec import discover
from simbench.strategies.d_psgd import DPSGD

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


def test_list_of_a_kind_shows_what_its_keys_take_and_are(simbench):
    as_json, as_table = (
        simbench("list", "strategies", "d_psgd", "--json"),
        simbench("list", "strategies", "d_psgd"),
    )

    listed = {each["key"]: each for each in json.loads(as_json.out)}
    assert list(listed) == [key for key in DPSGD.model_fields if key != "kind"]
    assert listed["order"] == {
        "key": "order",
        "takes": "combine_then_adapt or adapt_then_combine",
        "default": "combine_then_adapt",
        "about": "Whether neighbours' parameters from before or after their step are mixed.",
    }
    assert listed["graph"]["takes"].startswith("kind: complete, edges, ")
    assert listed["graph"]["default"] == "{kind: ring}"
    assert listed["consensus_step_size"]["takes"] == "number > 0 and <= 1 or null"
    lines = as_table.out.splitlines()
    assert lines[0].startswith("d_psgd: ")
    assert any(line.split()[:2] == ["order", "combine_then_adapt"] for line in lines)
    assert any("default combine_then_adapt" in line for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "plugin",
    [plugin for choice in CHOICES.values() for plugin in discover(*choice).values()],
    ids=lambda plugin: plugin.__name__,
)
def test_every_key_of_every_plug_in_can_be_listed(plugin):
    keys = keys_of(plugin)

    assert {each.key for each in keys} == set(plugin.model_fields) - {"kind"}
    assert all(each.takes and each.default and each.about for each in keys)
    # What is said of a default is YAML, and what the plug-in has without the key.
    said = {each.key: tuples(YAML(typ="safe").load(each.default)) for each in keys}
    assert plugin.model_validate(said, context="") == plugin()


def tuples(value):
    """Return what YAML holds as strict specs want it: lists as tuples."""
    if isinstance(value, dict):
        return {key: tuples(each) for key, each in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value


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
