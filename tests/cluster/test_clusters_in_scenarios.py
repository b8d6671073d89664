"""Clusters as users write them: every kind round-trips, and a mistake has one clear message."""

import shutil

import pytest

from simbench.cluster.devices import DEVICES
from simbench.cluster.jitter import Jitter
from simbench.cluster.machine import Machine
from simbench.cluster.straggler import Straggler
from simbench.cluster.stragglers.persistent import Persistent
from simbench.scenario_file import ScenarioError, dump, load, pack
from simbench.spec import discover

FILE = """\
name: cluster
cluster: CLUSTER
strategies: {only: {kind: parameter_server}}
stop: {updates: 3}
"""

KNOWN_DEVICES = ", ".join(DEVICES)

TRACE = "host,ms\na,10\nb,30\n\na,20\n"


MACHINES = discover("simbench.cluster.machines", Machine)
JITTERS = discover("simbench.cluster.jitters", Jitter)
STRAGGLERS = discover("simbench.cluster.stragglers", Straggler)


def load_with(folder, cluster):
    scenario = folder / "scenario.yaml"
    scenario.write_text(FILE.replace("CLUSTER", cluster))
    return load(scenario)


@pytest.mark.parametrize(
    "cluster",
    [
        *(f"{{machine: {{kind: {kind}}}}}" for kind in MACHINES),
        *(f"{{machine: {{kind: fixed, jitter: {{kind: {kind}}}}}}}" for kind in JITTERS),
        *(f"{{stragglers: [{{kind: {kind}, slowdown: 3}}]}}" for kind in STRAGGLERS),
        "{machine: {kind: accelerator, device: v100, precision: fp16, memory: 12 GB}}",
        "{machine: {kind: flops, memory: 16 GiB}}",
        "{machine: {kind: fixed, jitter: {kind: trace, times: [1, 2.5, 3]}}}",
        "{others: [{nodes: [6, 7], machine: {kind: fixed, step_time: 1 s}}, {nodes: [0]}]}",
        "{stragglers: [{nodes: [7], slowdown: 3}, {kind: rotating, every: 2, nodes: [0, 1]}]}",
    ],
)
def test_a_cluster_survives_being_written_and_read(tmp_path, cluster):
    scenario = load_with(tmp_path, cluster)
    (tmp_path / "written.yaml").write_text(dump(scenario))

    assert load(tmp_path / "written.yaml") == scenario


def test_a_straggler_without_a_kind_is_a_persistent_one(tmp_path):
    scenario = load_with(tmp_path, "{stragglers: [{nodes: [7], slowdown: 3}]}")

    assert scenario.cluster.stragglers == (Persistent(nodes=(7,), slowdown=3),)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (
            "{machine: {kind: accelerator, device: h100_sxm}}",
            (
                "machine.device: unknown device 'h100_sxm'; did you mean 'h100-sxm'? "
                f"(known: {KNOWN_DEVICES})"
            ),
        ),
        (
            "{machine: {kind: accelerator, device: xyz}}",
            f"machine.device: unknown device 'xyz'; (known: {KNOWN_DEVICES})",
        ),
        (
            "{machine: {kind: accelerator, device: v100}}",
            "machine.precision: v100 has no bf16; it has fp32, fp16",
        ),
        (
            "{machine: {kind: accelerator, device: tpu-v4, precision: fp8}}",
            "machine.precision: tpu-v4 has no fp8; it has bf16",
        ),
        (
            "{machine: {kind: accelerator, precision: int8}}",
            "machine.precision: expected 'fp32', 'tf32', 'bf16', 'fp16' or 'fp8'; got 'int8'",
        ),
        (
            "{machine: {kind: accelerator, efficiency: 1.2}}",
            "machine.efficiency: expected a number of at most 1.0; got 1.2",
        ),
        (
            "{machine: {kind: accelerator, rate: 1 TFLOP/s}}",
            (
                "machine.rate: unknown key 'rate'; "
                "(known: kind, jitter, memory, backward_share, device, precision, efficiency)"
            ),
        ),
        (
            "{machine: {kind: fixed, memory: 16}}",
            (
                "machine.memory: expected a number and one of "
                "TB, TiB, GB, GiB, MB, MiB, kB, KiB, B; got 16"
            ),
        ),
        (
            "{machine: {kind: fixed, memory: 2 MB}}",
            (
                "machine.memory: training takes 2.04 MB of memory (parameters and gradient, "
                "1.02 MB each, and activations on top, which aren't counted); there are 2.00 MB, "
                "which is 36.7 kB too little"
            ),
        ),
        (
            "{others: [{nodes: [1], machine: {kind: flops, memory: 2 MB}}]}",
            (
                "others.0.machine.memory: training takes 2.04 MB of memory (parameters and "
                "gradient, 1.02 MB each, and activations on top, which aren't counted); there are "
                "2.00 MB, which is 36.7 kB too little"
            ),
        ),
        (
            "{others: [{nodes: [7]}, {nodes: [8]}]}",
            "others.1.nodes: node 8 doesn't exist: 8 nodes have the ranks 0 to 7",
        ),
        ("{others: [{nodes: [7]}, {nodes: [6, 7]}]}", "others.1.nodes: node 7 is named twice"),
        ("{others: [{nodes: [5, 5]}]}", "others.0.nodes: node 5 is named twice"),
        ("{others: [{nodes: []}]}", "others.0.nodes: expected at least 1; got []"),
        ("{others: [{}]}", "others.0.nodes: missing; this key has no default"),
        (
            "{stragglers: [{kind: rotatin}]}",
            (
                "stragglers.0.kind: unknown kind 'rotatin'; did you mean 'rotating'? "
                "(known: bursts, persistent, rotating)"
            ),
        ),
        (
            "{stragglers: [{every: 2}]}",
            "stragglers.0.every: unknown key 'every'; (known: kind, nodes, slowdown)",
        ),
        (
            "{stragglers: [{nodes: []}]}",
            "stragglers.0.nodes: expected at least 1; got []",
        ),
        (
            "{stragglers: [{kind: rotating, nodes: [1, 8]}]}",
            "stragglers.0.nodes: node 8 doesn't exist: 8 nodes have the ranks 0 to 7",
        ),
        (
            "{stragglers: [{kind: rotating, every: 0}]}",
            "stragglers.0.every: expected a number above 0; got 0",
        ),
        (
            "{stragglers: [{slowdown: 0}]}",
            "stragglers.0.slowdown: expected a number above 0.0; got 0",
        ),
        (
            "{stragglers: [{kind: bursts, gap: 5, length: 1.2}]}",
            (
                "stragglers.0.length: slow steps that come by chance 5 steps apart make spells of "
                "1.25 steps on average, and expected are no shorter ones; got 1.2"
            ),
        ),
        (
            "{stragglers: [{kind: bursts, gap: 1}]}",
            "stragglers.0.gap: expected a number above 1.0; got 1",
        ),
    ],
)
def test_a_mistake_has_one_message_with_its_key(tmp_path, cluster, message):
    with pytest.raises(ScenarioError) as told:
        load_with(tmp_path, cluster)

    assert str(told.value) == f"{tmp_path / 'scenario.yaml'}:2: cluster.{message}"


@pytest.mark.parametrize(
    ("jitter", "message"),
    [
        (
            "{kind: none}",
            (
                "kind: unknown kind 'none'; (known: constant, exponential, lognormal, normal, "
                "pareto, shifted_exponential, trace, two_point)"
            ),
        ),
        ("{kind: normal, deviation: 0}", "deviation: expected a number above 0.0; got 0"),
        ("{kind: pareto, shape: 1}", "shape: expected a number above 1.0; got 1"),
        (
            "{kind: shifted_exponential, floor: 1.1}",
            "floor: expected a number of at most 1.0; got 1.1",
        ),
        (
            "{kind: two_point, probability: -0.1}",
            "probability: expected a number of at least 0.0; got -0.1",
        ),
        ("{kind: trace, times: []}", "times: expected at least 1; got []"),
        ("{kind: trace, times: [1, 0]}", "times.1: expected a number above 0.0; got 0"),
        ("{kind: trace, column: ms}", "column: has no effect without file"),
        (
            "{kind: trace, times: [1], file: trace.csv, column: ms}",
            "times: has no effect beside file; give one of the two",
        ),
        ("{kind: trace, file: no.csv}", "file: there is no file 'FOLDER/no.csv'"),
        (
            "{kind: trace, file: trace.csv}",
            "file: FOLDER/trace.csv, line 2, column 'host': expected a number above 0; got 'a'",
        ),
        (
            "{kind: trace, file: trace.csv, column: mss}",
            "column: unknown column 'mss'; did you mean 'ms'? (known: host, ms)",
        ),
    ],
)
def test_a_mistake_in_a_jitter_has_one_message_with_its_key(tmp_path, jitter, message):
    (tmp_path / "trace.csv").write_text(TRACE)

    with pytest.raises(ScenarioError) as told:
        load_with(tmp_path, f"{{machine: {{kind: fixed, jitter: {jitter}}}}}")

    said = message.replace("FOLDER", str(tmp_path))
    assert str(told.value) == f"{tmp_path / 'scenario.yaml'}:2: cluster.machine.jitter.{said}"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"ms\n5\n\n-1\n", ", line 4, column 'ms': expected a number above 0; got '-1'"),
        (b"ms\n5\nnan\n", ", line 3, column 'ms': expected a number above 0; got 'nan'"),
        (b"ms\ninf\n", ", line 2, column 'ms': expected a number above 0; got 'inf'"),
        (b"host,ms\na,5\nb\n", ", line 3, column 'ms': expected a number above 0; got ''"),
        (b"host,ms\na,5 ms\n", ", line 2, column 'ms': expected a number above 0; got '5 ms'"),
        (b"1,ms\n1,5\n", ", line 1: expected names of columns; got ['1', 'ms']"),
        (b"host,ms\n", ": expected a line of names and lines of times"),
        (b'host,ms\n"a"b,1\n', ": not a CSV file in UTF-8: ',' expected after '\"'"),
        (
            b"host,ms\n\xff,1\n",
            (
                ": not a CSV file in UTF-8: 'utf-8' codec can't decode byte 0xff in position 8: "
                "invalid start byte"
            ),
        ),
    ],
)
def test_a_mistake_in_a_trace_is_told_by_file_line_and_column(tmp_path, contents, message):
    (tmp_path / "trace.csv").write_bytes(contents)

    with pytest.raises(ScenarioError) as told:
        load_with(
            tmp_path, "{machine: {kind: fixed, jitter: {kind: trace, file: trace.csv, column: ms}}}"
        )

    where = f"{tmp_path / 'scenario.yaml'}:2: cluster.machine.jitter.file: {tmp_path / 'trace.csv'}"
    assert str(told.value) == where + message


@pytest.mark.parametrize("contents", [TRACE, "\ufeff" + TRACE.replace("\n", "\r\n")])
def test_a_trace_from_a_file_is_the_one_that_it_holds(tmp_path, contents):
    (tmp_path / "trace.csv").write_bytes(contents.encode())

    law = load_with(
        tmp_path, "{machine: {kind: fixed, jitter: {kind: trace, file: trace.csv, column: ms}}}"
    ).cluster.machine.jitter

    begun = [law.factor(0, 0, step) for step in range(3)]
    assert begun in ([0.5, 1.5, 1.0], [1.5, 1.0, 0.5], [1.0, 0.5, 1.5])


def test_a_trace_that_was_written_anew_is_read_anew(tmp_path):
    cluster = "{machine: {kind: fixed, jitter: {kind: trace, file: trace.csv, column: ms}}}"
    largest = []
    for line in ("c,90\n", "c,900\n"):
        (tmp_path / "trace.csv").write_text(TRACE + line)
        law = load_with(tmp_path, cluster).cluster.machine.jitter
        largest.append(max(law.factor(0, 0, step) for step in range(4)))

    assert largest == [90 / 37.5, 900 / 240]


def test_a_trace_travels_with_its_scenario_and_counts_by_its_contents(tmp_path):
    (tmp_path / "trace.csv").write_text(TRACE)
    cluster = "{machine: {kind: fixed, jitter: {kind: trace, file: trace.csv, column: ms}}}"
    scenario = load_with(tmp_path, cluster)
    pack(scenario, tmp_path / "packed")
    packed = shutil.move(tmp_path / "packed", tmp_path / "elsewhere")
    (tmp_path / "other.csv").write_text(TRACE.replace("20", "40"))

    assert load(packed / "scenario.yaml").run_id == scenario.run_id
    other = load_with(tmp_path, cluster.replace("trace.csv", "other.csv"))
    assert other.run_id != scenario.run_id
