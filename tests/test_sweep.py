"""A sweep is its points: each as if it had been asked for alone, and none trained twice."""

import itertools
from collections import Counter

import pytest

from simbench.estimate import estimate
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.network.topologies.star import Star
from simbench.records import TABLES
from simbench.run import differing_tables
from simbench.scenario import Scenario
from simbench.scenario_file import ScenarioError, dump, load, pack

FILE = """\
name: swept
task:
  model: {kind: quadratic, dimension: 10, noise: 0.3}
  data: {kind: gaussian}
  batch_size: 2
  optimizer: {kind: sgd, learning_rate: 0.1}
cluster:
  nodes: 4
  machine: {kind: fixed, step_time: 100 ms, jitter: {kind: constant}}
network: {kind: star, bandwidth: 10 kbit/s, latency: 1 ms}
strategies:
  averaging: {kind: averaging, period: 2}
  asynchronous: {kind: asynchronous}
evaluate_every: 2
stop: {updates: 12}
seeds: [0, 1]
"""
NETWORKS = """\
sweep:
  network:
    data centre: {kind: star, bandwidth: 1 Gbit/s, latency: 20 us}
    office: {kind: star, bandwidth: 100 kbit/s, latency: 1 ms}
    two sites: {kind: ring, bandwidth: 1 kbit/s, latency: 40 ms}
"""
AXES = """\
sweep:
  network.bandwidth: [10 kbit/s, 2000 bit/s]
  size:
    few: {cluster.nodes: 2, task.batch_size: 4}
    many: {cluster.nodes: 4}
  all_reduce.kind: [ring, auto]
"""


@pytest.fixture
def read(tmp_path):
    """Write a file of these pieces and read it."""

    def read(*pieces, sets=()):
        (tmp_path / "swept.yaml").write_text("".join([FILE, *pieces]))
        return load(tmp_path / "swept.yaml", sets)

    return read


# -- what a file says


def test_all_axes_together_span_the_points_in_order(read):
    points = read(AXES).points

    labels = [tuple(point.labels.values()) for point in points]
    sizes, ways = ["few", "many"], ["ring", "auto"]
    assert labels == list(itertools.product(["10 kbit/s", "2 kbit/s"], sizes, ways))
    for (bandwidth, size, way), point in zip(labels, points, strict=True):
        at = point.scenario
        assert at.network.bandwidth == {"10 kbit/s": 10_000, "2 kbit/s": 2_000}[bandwidth]
        assert (at.cluster.nodes, at.task.batch_size) == {"few": (2, 4), "many": (4, 2)}[size]
        assert at.all_reduce.kind == way
        assert at.sweep == ()


def test_a_point_is_the_scenario_that_says_the_same(read):
    swept = read(NETWORKS)

    alone = read(sets=["network={kind: ring, bandwidth: 1 kbit/s, latency: 40 ms}"])

    assert swept.points[2].scenario == alone
    assert [point.name for point in swept.points] == ["data centre", "office", "two sites"]


def test_without_a_sweep_there_is_one_point_without_labels(read):
    scenario = read()

    (point,) = scenario.points
    assert (point.labels, point.scenario) == ({}, scenario)
    assert read("sweep: {}\n") == scenario
    assert "sweep" not in dump(scenario)


@pytest.mark.parametrize("axes", [NETWORKS, AXES])
def test_what_is_written_is_read_back(read, tmp_path, axes):
    scenario = read(axes)

    (tmp_path / "again.yaml").write_text(dump(scenario))

    again = load(tmp_path / "again.yaml")
    assert again == scenario
    assert again.run_id == scenario.run_id
    assert scenario.run_id not in (read().run_id, read(NETWORKS, sets=["seeds=[0]"]).run_id)


def test_a_later_axis_may_refine_what_an_earlier_one_chose(read):
    scenario = read(NETWORKS, "  network.latency: [1 ms, 5 ms]\n")

    found = [(p.scenario.network.kind, p.scenario.network.latency) for p in scenario.points]
    assert found == [
        (kind, ms * 10**6) for kind in ("star", "star", "ring") for ms in (1, 5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "axis",
    [
        "sweep: {cluster.machine.jitter.file: [a.csv, b.csv]}\n",
        (
            "sweep: {cluster.machine.jitter: {one: {kind: trace, file: a.csv},"
            " two: {kind: trace, file: b.csv}}}\n"
        ),
    ],
    ids=["listed", "named"],
)
def test_files_of_alternatives_go_along_and_enter_by_their_contents(read, tmp_path, axis):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"ms\n1\n{ord(name)}\n")
    sets = ["cluster.machine.jitter={kind: trace, file: a.csv}"] if "file: [" in axis else []
    scenario = read(axis, sets=sets)

    moved = tmp_path / "moved"
    moved.mkdir()
    packed = load(pack(scenario, moved))

    assert sorted(path.name for path in moved.rglob("*.csv")) == ["a.csv", "b.csv"]
    assert packed.run_id == scenario.run_id
    assert [p.labels for p in packed.points] == [p.labels for p in scenario.points]
    before = scenario.run_id
    (tmp_path / "b.csv").write_text("ms\n1\n3\n")
    assert read(axis, sets=sets).run_id != before


WRONG = {
    "unknown key": (
        "sweep:\n  network.bandwith: [1 Gbit/s]\n",
        "FILE:18: sweep.network.bandwith.0: unknown key 'bandwith'; did you mean 'bandwidth'?",
    ),
    "unknown key at the top": (
        "sweep:\n  netwrok.bandwidth: [1 Gbit/s]\n",
        "FILE:18: sweep.netwrok.bandwidth: unknown key 'netwrok'; did you mean 'network'?",
    ),
    "unknown key of an alternative": (
        "sweep:\n  size:\n    few: {cluster.nodes: 2}\n    many: {cluster.nods: 4}\n",
        "FILE:20: sweep.size.many.cluster.nods: unknown key 'nods'; did you mean 'nodes'?",
    ),
    "unknown section of an alternative": (
        "sweep:\n  size:\n    few: {clutser.nodes: 2}\n",
        "FILE:19: sweep.size.few.clutser.nodes: unknown key 'clutser'; did you mean 'cluster'?",
    ),
    "bad value in a list": (
        "sweep:\n  network.bandwidth:\n    - 1 Gbit/s\n    - 5\n",
        "FILE:20: sweep.network.bandwidth.1: expected a number and one of Tbit/s, Gbit/s, Mbit/s",
    ),
    "bad value inside an alternative": (
        "sweep:\n  network:\n    near: {kind: star}\n    far: {kind: star, latency: 5 sec}\n",
        "FILE:20: sweep.network.far.latency: expected a number and one of h, min, s, ms, us, ns;",
    ),
    "unknown kind": (
        "sweep:\n  network:\n    near: {kind: sta}\n",
        "FILE:19: sweep.network.near.kind: unknown kind 'sta'; did you mean 'star'?",
    ),
    "unknown strategy": (
        "sweep:\n  strategies.averagin.period: [1, 2]\n",
        (
            "FILE:18: sweep.strategies.averagin.period.0: unknown key 'averagin'; did you mean "
            "'averaging'?"
        ),
    ),
    "not a mapping": ("sweep: [1]\n", "FILE:17: sweep: expected a mapping of axes; got [1]"),
    "no values": (
        "sweep:\n  network.bandwidth: []\n",
        "FILE:18: sweep.network.bandwidth: expected a list of values, or alternatives by name",
    ),
    "no names": (
        "sweep:\n  network: [{kind: star}]\n",
        "FILE:18: sweep.network.0: has no name here: say NAME: VALUE",
    ),
    "no keys": (
        "sweep:\n  size: {few: 2}\n",
        "FILE:18: sweep.size.few: expected keys of the scenario and their values; got 2",
    ),
    "the same twice": (
        "sweep:\n  network.latency: [1 ms, 1000 us]\n",
        "FILE:18: sweep.network.latency.1: each counts once; 1 ms is there already",
    ),
    "what is compared": (
        "sweep:\n  seeds: {one: [1], two: [2]}\n",
        "FILE:18: sweep.seeds: seeds must be the same at every point",
    ),
    "two axes with one key": (
        "sweep:\n  network.latency: [1 ms]\n  far: {yes: {network.latency: 5 ms}}\n",
        "FILE:19: sweep.far: network.latency sets network.latency already",
    ),
    "an axis that undoes another": (
        "sweep:\n  network.latency: [1 ms]\n  network: {near: {kind: star}}\n",
        "FILE:19: sweep.network: replaces all of network: it must stand before network.latency",
    ),
    "what refines another": (
        "sweep:\n  network: {near: {kind: star}}\n  network.latency: [5]\n",
        "FILE:19: sweep.network.latency.0: expected a number and one of h, min, s, ms, us, ns",
    ),
    "a column's name": (
        "sweep:\n  node: {a: {cluster.nodes: 2}}\n",
        "FILE:18: sweep.node: tables have a column of this name already",
    ),
    "what doesn't fit together": (
        "sweep:\n  cluster.nodes: [4, 2]\n  server: {a: {strategies.asynchronous.server: 3}}\n",
        "FILE:19: sweep.server.a.strategies.asynchronous.server: node 3 doesn't exist: 2 nodes",
    ),
    "what doesn't fit the rest": (
        "conditions: [{kind: late_join, nodes: [3], at: 1 s}]\nsweep:\n  cluster.nodes: [4, 2]\n",
        "at the point cluster.nodes 1: conditions.0",
    ),
}


@pytest.mark.parametrize(("piece", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_line_and_key(read, tmp_path, piece, message):
    with pytest.raises(ScenarioError) as error:
        read(piece)

    told = str(error.value).replace(str(tmp_path / "swept.yaml"), "FILE")
    assert message in told
    assert len(told.splitlines()) == 1


def test_a_key_that_the_sweep_sets_is_not_set_from_outside(read):
    with pytest.raises(ScenarioError, match=r"--set network: has no effect, since axis 'network'"):
        read(NETWORKS, sets=["network.latency=5 ms"])

    scenario = read(NETWORKS, sets=["sweep.network.office.latency=5 ms", "stop.updates=4"])
    office = scenario.points[1].scenario
    assert (office.network.latency, office.stop.updates) == (5 * 10**6, 4)


def test_python_says_a_sweep_as_a_file_does(read):
    described = {name: getattr(read(), name) for name in type(read()).model_fields}
    section = {
        "network": {"near": Star(bandwidth=10**9), "far": {"kind": "ring", "latency": "40 ms"}},
        "network.latency": ["1 ms", "5 ms"],
    }

    swept = Scenario(**described | {"sweep": section})

    assert [(p.name, p.scenario.network.latency) for p in swept.points] == [
        ("near, 1 ms", 10**6),
        ("near, 5 ms", 5 * 10**6),
        ("far, 1 ms", 10**6),
        ("far, 5 ms", 5 * 10**6),
    ]
    again = Scenario(**described | {"sweep": swept.sweep})
    assert again == swept
    other = swept.model_copy(update={"seeds": (7,)})
    assert {point.scenario.seeds for point in other.points} == {(7,)}


# -- what a run does


def test_every_point_is_the_run_of_its_own_scenario_bit_for_bit(read, ran):
    scenario = read(AXES)

    swept = ran(scenario)

    assert len(swept.points) == 8
    for point, part in zip(scenario.points, swept.points, strict=True):
        alone = ran(point.scenario)
        assert part.point == point.labels
        for name in TABLES:
            assert part.table(name).equals(alone.table(name)), (point.name, name)
        runs = [{k: v for k, v in each.items() if k != "point"} for each in part.summary["runs"]]
        assert {**part.summary, "runs": runs} == alone.summary


def test_every_table_gains_the_axes_as_its_first_columns(read, ran):
    axes = ["network.bandwidth", "size", "all_reduce.kind"]

    swept, plain = ran(read(AXES)), ran(read())

    for name in ("evaluations", "updates", "spans", "messages"):
        table, columns = swept.table(name), list(TABLES[name]._fields)
        assert list(table.columns) == axes + columns
        assert list(plain.table(name).columns) == columns
        assert set(table["network.bandwidth"]) == {"10 kbit/s", "2 kbit/s"}
    assert plain.axes == plain.points == []
    assert "sweep" not in plain.summary
    assert "point" not in plain.summary["runs"][0]


def test_one_training_serves_all_networks(read, ran):
    only = ["strategies={averaging: {kind: averaging, period: 2}}"]

    swept = ran(read(NETWORKS, sets=only)).provenance["operations"]

    one = ran(read(sets=only)).provenance["operations"]
    assert swept["run"] == one["run"]
    assert swept["run"]["gradient"] == 2 * 12 * 4
    assert swept["known"]["gradient"] == 2 * swept["run"]["gradient"]


def test_what_depends_on_the_order_is_trained_where_the_order_differs(read, ran):
    only = [
        "strategies={a: {kind: asynchronous}}",
        "cluster.machine.jitter={kind: lognormal, sigma: 1}",
    ]
    swept = ran(read(NETWORKS, sets=only)).provenance["operations"]["run"]
    alone = ran(read(sets=only)).provenance["operations"]["run"]

    assert alone["gradient"] < swept["gradient"] <= 3 * alone["gradient"]


def test_a_second_run_trains_nothing_and_says_the_same(read, ran):
    memo, scenario = Memo(None), read(AXES)
    first = ran(scenario, memo=memo)

    second = ran(scenario, memo=memo)

    assert differing_tables(first, second) == []
    assert second.provenance["operations"]["run"] == {}


def test_progress_tells_the_point(read, ran):
    told = []

    ran(read(NETWORKS), progress=told.append)

    assert list(dict.fromkeys(each.point for each in told)) == [
        "data centre", "office", "two sites",
    ]  # fmt: skip
    assert {each.num_runs for each in told} == {3 * 2 * 2}
    assert told[-1].runs_done == 3 * 2 * 2 - 1


def test_the_estimate_counts_a_training_of_several_points_once(read):
    only = ["strategies={averaging: {kind: averaging, period: 2}}"]
    executor = ThreadExecutor(1)
    try:
        one, three = (
            estimate(read(piece, sets=only), executor, Memo(None)) for piece in ("", NETWORKS)
        )
    finally:
        executor.close()

    assert Counter(one=one.gradients, three=three.gradients) == Counter(one=96, three=96)
    assert three.gradients_known == 2 * 96
    assert three.disk_bytes == 3 * one.disk_bytes
