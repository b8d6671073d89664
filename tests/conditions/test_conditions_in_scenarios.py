"""Conditions as users write them: every kind round-trips, and a mistake has one clear message."""

import pytest
from ruamel.yaml import YAML

from simbench.condition import Condition
from simbench.scenario_file import ScenarioError, dump, load, pack
from simbench.spec import discover

FILE = """\
name: trouble
cluster: {nodes: 4}
network: NETWORK
conditions:
  - CONDITION
strategies: {one: {kind: averaging}, other: {kind: parameter_server}}
stop: {updates: 3}
"""
STAR = "{kind: star}"
REGIONS = "{kind: wan, regions: [{name: us-west-2, nodes: 2}, {name: eu-central-1, nodes: 2}]}"


@pytest.fixture
def read(tmp_path):
    """Load a scenario with one condition."""

    def read(condition, network=STAR):
        file = tmp_path / "scenario.yaml"
        file.write_text(FILE.replace("CONDITION", condition).replace("NETWORK", network))
        return load(file)

    return read


@pytest.fixture
def refusal(read, tmp_path):
    """Return what is said about a scenario with one condition that can't be."""

    def refuse(condition, network=STAR):
        with pytest.raises(ScenarioError) as told:
            read(condition, network)
        where = f"{tmp_path / 'scenario.yaml'}:5: conditions.0"
        assert str(told.value).startswith(where)
        return str(told.value).removeprefix(where).replace(str(tmp_path), "FOLDER")

    return refuse


@pytest.mark.parametrize(
    "condition",
    [
        *(f"{{kind: {kind}}}" for kind in discover("simbench.conditions", Condition)),
        "{kind: node_failure, nodes: [1, 4], at: 1 s, until: 2 s}",
        "{kind: node_failures, mean_time_between_failures: 1 h, mean_time_to_repair: 0 s}",
        "{kind: preemption, nodes: [0, 1], at_once: 2, away: 1 min}",
        "{kind: link_failure, links: [[3, switch], [switch, 0]], at: 0 s, until: 1 ms}",
        "{kind: link_degradation, links: [[4, switch]], one_way: true, rate: 1 Mbit/s}",
        "{kind: partition, places: [2], until: 2 min}",
        "{kind: background_traffic, sender: 4, receiver: 2, size: 1 MB, gap: 1 s, until: 1 h}",
    ],
)
def test_a_condition_survives_being_written_and_read(read, tmp_path, condition):
    scenario = read(condition)
    (tmp_path / "written.yaml").write_text(dump(scenario))

    assert load(tmp_path / "written.yaml") == scenario
    assert len(scenario.conditions) == 1


@pytest.mark.parametrize(
    "places", ["[us-west-2]", "[us-west-2, 0, 1]", "[us-west-2, eu-central-1]"]
)
def test_a_side_is_named_by_its_switch(read, refusal, places):
    condition = f"{{kind: partition, places: {places}}}"
    if "eu" in places:
        message = ".places: no link leads from these to any other: nothing is cut off"
        assert refusal(condition, REGIONS) == message
    else:
        assert read(condition, REGIONS)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            "{kind: node_failur}",
            (
                ".kind: unknown kind 'node_failur'; did you mean 'node_failure'? (known: "
                "background_traffic, bandwidth_trace, late_join, link_degradation, link_failure, "
                "link_failures, node_failure, node_failures, partition, preemption)"
            ),
        ),
        (
            "{kind: node_failure, nodes: [1, 5]}",
            (
                ".nodes.1: node 5 doesn't exist: 5 nodes, with servers on machines of their own, "
                "have the ranks 0 to 4"
            ),
        ),
        (
            "{kind: node_failure, at: 2 s, until: 2 s}",
            ".until: expected a moment after that of at",
        ),
        (
            "{kind: preemption, nodes: [1], at_once: 2}",
            ".at_once: expected at most 1, the number of nodes",
        ),
        (
            "{kind: link_failure, links: [[0, swich]]}",
            (
                ".links.0: no link ends at 'swich'; did you mean 'switch'? (there are: 0 to 4, "
                "switch)"
            ),
        ),
        (
            "{kind: link_failure, links: [[0, switch], [0, 1]]}",
            ".links.1: there is no link from 0 to 1; from 0 links lead to switch",
        ),
        (
            "{kind: link_failures, links: [[7, switch]]}",
            ".links.0: no link ends at 7; (there are: 0 to 4, switch)",
        ),
        (
            "{kind: link_degradation, nodes: [5]}",
            (
                ".nodes.0: node 5 doesn't exist: 5 nodes, with servers on machines of their own, "
                "have the ranks 0 to 4"
            ),
        ),
        ("{kind: link_failure, one_way: true}", ".one_way: has no effect without links"),
        (
            "{kind: link_degradation, factor: 0.5, rate: 1 Mbit/s}",
            ".factor: has no effect beside rate; give one of the two",
        ),
        (
            "{kind: link_degradation, factor: 1.5}",
            ".factor: expected a number of at most 1.0; got 1.5",
        ),
        (
            "{kind: partition, places: [0, 1]}",
            (
                ".places: 0 and 1 are cut off from each other too, since what joins them isn't "
                "among these; name the switches on this side, or use link_failure"
            ),
        ),
        (
            "{kind: partition, places: [left]}",
            ".places.0: no link ends at 'left'; (there are: 0 to 4, switch)",
        ),
        (
            "{kind: background_traffic, gap: 1 s}",
            ".gap: has no effect without size: the one flow never ends",
        ),
        (
            "{kind: background_traffic, sender: 1, receiver: 1}",
            ".receiver: expected another node than the sender",
        ),
        (
            "{kind: background_traffic, receiver: 9}",
            (
                ".receiver: node 9 doesn't exist: 5 nodes, with servers on machines of their own, "
                "have the ranks 0 to 4"
            ),
        ),
        (
            "{kind: bandwidth_trace, file: nowhere.csv}",
            ".file: there is no file 'FOLDER/nowhere.csv'",
        ),
        (
            "{kind: bandwidth_trace, repeat: 1 min}",
            ".repeat: expected more than the last time of the trace",
        ),
    ],
)
def test_a_mistake_has_one_message_with_its_key(refusal, condition, message):
    assert refusal(condition) == message


def test_links_of_a_network_without_any_are_refused(refusal):
    for kind in ("link_failure", "link_degradation", "partition", "background_traffic"):
        message = refusal(f"{{kind: {kind}}}", "{kind: instant}")
        assert message == ": has no effect: this network has no links"


# -- traces


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            (
                ":1: expected a column of time_h, time_min, time_s, time_ms, time_us, time_ns and "
                "one of rate_tbit, rate_gbit, rate_mbit, rate_kbit, rate_bit; got nothing"
            ),
        ),
        (
            "time_s,rate\n0,1\n",
            (
                ":1: expected a column of time_h, time_min, time_s, time_ms, time_us, time_ns and "
                "one of rate_tbit, rate_gbit, rate_mbit, rate_kbit, rate_bit; got time_s, rate"
            ),
        ),
        ("time_s,rate_mbit\n", ":2: expected a row for each sample; got none"),
        ("time_s,rate_mbit\n0,1\n1\n", ":3: expected 2 columns; got 1"),
        (
            "time_s,rate_mbit\n0,1\n1,fast\n",
            ":3: rate_mbit: expected a number of at least 0; got 'fast'",
        ),
        ("rate_mbit,time_s\n1,-1\n", ":2: time_s: expected a number of at least 0; got '-1'"),
        (
            "time_s,rate_mbit\n0,1\n2,2\n2.0,1\n",
            ":4: time_s: expected more than in the line before; got '2.0'",
        ),
    ],
)
def test_a_trace_with_a_mistake_is_told_by_file_line_and_column(refusal, tmp_path, text, message):
    (tmp_path / "trace.csv").write_text(text)

    assert refusal("{kind: bandwidth_trace, file: trace.csv}") == (
        f".file: FOLDER/trace.csv{message}"
    )


def test_a_trace_that_never_carries_anything_is_refused(refusal, tmp_path):
    (tmp_path / "none.csv").write_text("time_s,rate_mbit\n0,0\n")

    assert refusal("{kind: bandwidth_trace, file: none.csv, repeat: 1 s}") == (
        ".repeat: has no effect: no rate of the trace is above 0"
    )


def test_the_run_id_knows_a_trace_by_its_contents_and_the_file_travels_along(read, tmp_path):
    def run_id(name, text):
        (tmp_path / name).write_text(text)
        return read(f"{{kind: bandwidth_trace, file: {name}}}").run_id

    one = run_id("one.csv", "time_s,rate_mbit\n0,1\n")
    assert run_id("two.csv", "time_s,rate_mbit\n0,1\n") == one
    assert run_id("three.csv", "time_s,rate_mbit\n0,2\n") != one

    scenario = read("{kind: bandwidth_trace, file: one.csv}")
    (tmp_path / "packed").mkdir()
    packed = load(pack(scenario, tmp_path / "packed"))
    (tmp_path / "one.csv").unlink()
    assert packed.run_id == one
    assert packed.conditions[0]._samples() == ((0, 10**6),)


def test_without_conditions_a_scenario_is_written_as_it_always_was(read):
    scenario = read("{kind: node_failure}").model_copy(update={"conditions": ()})

    assert "conditions" not in YAML().load(dump(scenario))
