"""Scenario files: what is written is read back, and what is wrong is told by file, line and key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.jitters.exponential import Exponential
from simbench.cluster.jitters.lognormal import LogNormal
from simbench.cluster.machines.fixed import Fixed
from simbench.cluster.machines.flops import Flops
from simbench.cluster.stragglers.persistent import Persistent
from simbench.learning.aggregators.median import Median
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.faults.sign_flip import SignFlip
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.network.topologies.instant import Instant
from simbench.network.topologies.star import Star
from simbench.scenario import CHOICES, Scenario, Stop
from simbench.scenario_file import ScenarioError, dump, load, pack
from simbench.spec import discover
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer

FILE = """\
name: small
task:
  model: {kind: quadratic}
  data: {kind: gaussian}
cluster:
  nodes: 2
  machine:
    kind: fixed
    step_time: 10 ms
network:
  latency: 1 ms
  kind: star
strategies:
  ps: {kind: parameter_server}
stop:
  updates: 3
seeds: [0, 1]
"""

RATES = st.floats(0, 1e6, exclude_min=True)
POSITIVE = st.integers(1, 10**15)


@st.composite
def scenarios(draw):
    nodes = draw(st.integers(1, 6))
    ranks = st.integers(0, nodes - 1)
    jitter = draw(
        st.sampled_from([Constant(), Exponential()]) | st.builds(LogNormal, sigma=st.floats(0, 3))
    )
    fixed = st.builds(Fixed, step_time=POSITIVE, jitter=st.just(jitter))
    optimizer = draw(
        st.builds(SGD, learning_rate=RATES, momentum=st.floats(0, 1, exclude_max=True))
        | st.builds(AdamW, learning_rate=RATES, beta1=st.floats(0, 1, exclude_max=True))
    )
    if draw(st.booleans()):
        machine = draw(fixed)
        optima = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=3).map(tuple)
        model, data = draw(st.builds(Quadratic, optimum=optima, noise=RATES)), Gaussian()
    else:
        machine = draw(fixed | st.builds(Flops, rate=POSITIVE, efficiency=st.floats(0.01, 1)))
        model, data = Logistic(l2=draw(RATES)), Classification(samples=draw(st.integers(6, 99)))
    place = st.one_of(st.just("own_machine"), ranks)
    rate = st.one_of(st.none(), RATES)
    strategy = (
        st.builds(ParameterServer, server=place, learning_rate=rate)
        | st.builds(Averaging, period=st.integers(1, 9), combine=st.just("gradients"))
        | st.builds(Asynchronous, server=place)
        | st.builds(Asynchronous, servers=st.integers(1, 9))
        | st.builds(
            ParameterServer,
            servers=st.integers(1, nodes),
            server=st.just("colocated"),
            aggregator=st.just(Median()),
        )
    )
    straggler = st.builds(
        Persistent, nodes=st.lists(ranks, min_size=1).map(tuple), slowdown=st.floats(0.1, 9)
    )
    return Scenario(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]*", fullmatch=True)),
        task=Task(
            model=model,
            data=data,
            optimizer=optimizer,
            batch_size=draw(st.integers(1, 4)),
            dtype=draw(st.sampled_from(["float32", "float64"])),
        ),
        cluster=Cluster(
            nodes=nodes,
            machine=machine,
            stragglers=tuple(draw(st.lists(straggler, max_size=2))),
        ),
        network=draw(
            st.just(Instant()) | st.builds(Star, bandwidth=POSITIVE, latency=st.integers(0, 10**12))
        ),
        faults=tuple(draw(st.lists(st.builds(SignFlip, nodes=st.tuples(ranks)), max_size=2))),
        strategies=draw(st.dictionaries(NAMES, strategy, min_size=1, max_size=3)),
        stop=draw(
            st.builds(
                Stop,
                loss=st.one_of(st.none(), st.floats(-1e3, 1e3)),
                virtual_time=st.one_of(st.none(), POSITIVE),
                updates=POSITIVE,
            )
        ),
        seeds=tuple(draw(st.lists(st.integers(0, 2**63), min_size=1, max_size=3, unique=True))),
    )


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9
) | st.sampled_from(["a b", "1", "1.5", "yes", "null", "~", "#", "a: b", "- a", "{", "'", '"', "="])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("files") / "small.yaml"


@given(scenarios())
def test_what_is_written_is_read_back(file, scenario):
    file.write_text(dump(scenario), encoding="utf-8")

    assert load(file) == scenario


def test_every_default_is_written_out(file):
    file.write_text(FILE)

    written = dump(load(file))

    for line in ("batch_size: 8", "bandwidth: 1 Gbit/s", "slowdown", "evaluate_every: 5"):
        assert (line in written) == (line != "slowdown")
    assert "latency: 1 ms" in written


def test_times_written_differently_are_the_same_scenario(file):
    file.write_text(FILE)
    first = load(file)

    file.write_text(FILE.replace("10 ms", "0.01 s").replace("latency: 1 ms", "latency: 1000us"))

    assert load(file) == first
    assert load(file).run_id == first.run_id


def naming(path, model="gpt"):
    """Return the file with a GPT on the text in ``path`` as its task."""
    return FILE.replace(
        "model: {kind: quadratic}\n  data: {kind: gaussian}",
        f"model: {{kind: {model}}}\n  data: {{kind: text, path: {path}}}",
    )


def test_a_packed_scenario_brings_its_files_wherever_it_goes(file, tmp_path):
    (file.parent / "prose.txt").write_text("to be or not to be " * 1000)
    file.write_text(naming("prose.txt"))
    scenario = load(file)
    run_id = scenario.run_id

    (tmp_path / "packed").mkdir()
    written = pack(scenario, tmp_path / "packed")
    (tmp_path / "packed").rename(tmp_path / "moved")
    (file.parent / "prose.txt").unlink()
    moved = load(tmp_path / "moved" / written.name)

    assert moved.run_id == run_id
    assert str(file.parent) not in (tmp_path / "moved" / written.name).read_text()


def refusal(file, text, *sets):
    file.write_text(text)
    with pytest.raises(ScenarioError) as refused:
        load(file, sets)
    return str(refused.value).replace(str(file), "FILE")


WRONG = {
    "unknown key": (
        ("nodes: 2", "node: 2"),
        (
            "FILE:6: cluster.node: unknown key 'node'; did you mean 'nodes'? "
            "(known: nodes, machine, others, stragglers)"
        ),
    ),
    "unknown key at the top": (
        ("seeds: [", "sedes: ["),
        (
            "FILE:17: sedes: unknown key 'sedes'; did you mean 'seeds'? (known: "
            "name, task, cluster, "
            "network, all_reduce, all_gather, parallel, conditions, faults, strategies, "
            "evaluate_every, stop, vectorise, deterministic, seeds, sweep, tune)"
        ),
    ),
    "unknown kind": (
        ("kind: gaussian", "kind: gausian"),
        (
            "FILE:4: task.data.kind: unknown kind 'gausian'; did you mean 'gaussian'? "
            f"(known: {', '.join(discover(*CHOICES['task.data']))})"
        ),
    ),
    "no kind": (
        ("kind: quadratic", "dimension: 3"),
        (
            "FILE:3: task.model: expected a mapping with a 'kind' "
            f"(one of: {', '.join(discover(*CHOICES['task.model']))})"
        ),
    ),
    "no unit": (
        ("step_time: 10 ms", "step_time: 10"),
        (
            "FILE:9: cluster.machine.step_time: expected a number and one of h, "
            "min, s, ms, us, ns; "
            "got 10"
        ),
    ),
    "wrong unit": (
        ("latency: 1 ms", "latency: 1 msec"),
        (
            "FILE:11: network.latency: expected a number and one of h, min, s, ms, us, ns; "
            "got '1 msec'"
        ),
    ),
    "too fine": (
        ("latency: 1 ms", "latency: 0.1 ns"),
        "FILE:11: network.latency: '0.1 ns' is finer than one ns",
    ),
    "text for a number": (
        ("nodes: 2", "nodes: two"),
        "FILE:6: cluster.nodes: expected a whole number; got 'two'",
    ),
    "true for a number": (
        ("nodes: 2", "nodes: true"),
        "FILE:6: cluster.nodes: expected a whole number; got True",
    ),
    "fraction for a number": (
        ("nodes: 2", "nodes: 2.0"),
        "FILE:6: cluster.nodes: expected a whole number; got 2.0",
    ),
    "too small": (
        ("nodes: 2", "nodes: 0"),
        "FILE:6: cluster.nodes: expected a number above 0; got 0",
    ),
    "number for a list": (
        ("seeds: [0, 1]", "seeds: 3"),
        "FILE:17: seeds: expected a list; got 3",
    ),
    "wrong item": (
        ("seeds: [0, 1]", "seeds:\n  - 0\n  - -1"),
        "FILE:19: seeds.1: expected a number of at least 0; got -1",
    ),
    "one seed twice": (
        ("seeds: [0, 1]", "seeds: [1, 1]"),
        "FILE:17: seeds: each counts once; got [1, 1]",
    ),
    "nothing for a mapping": (
        ("  ps: {kind: parameter_server}\n", ""),
        "FILE:13: strategies: expected a mapping; got None",
    ),
    "neither": (
        ("kind: parameter_server", "kind: parameter_server, server: own"),
        (
            "FILE:14: strategies.ps.server: expected 'own_machine' or 'colocated' or a whole "
            "number; got 'own'"
        ),
    ),
    "bad name": (
        ("name: small", "name: a/b"),
        "FILE:1: name: expected text that matches ^[A-Za-z0-9][A-Za-z0-9_-]*$; got 'a/b'",
    ),
    "missing key": (
        ("stop:\n  updates: 3\n", ""),
        "FILE:1: stop: missing; this key has no default",
    ),
    "missing file": (
        ("kind: gaussian", "kind: text, path: no.txt"),
        "FILE:4: task.data.path: there is no file or folder 'FOLDER/no.txt'",
    ),
    "model and data": (
        ("kind: gaussian", "kind: text"),
        (
            "FILE:2: task: model quadratic takes noise but data text yields tokens; "
            "data that would do: gaussian"
        ),
    ),
    "server on no node": (
        ("kind: parameter_server", "kind: parameter_server, server: 2"),
        "FILE:14: strategies.ps.server: node 2 doesn't exist: 2 nodes have the ranks 0 to 1",
    ),
    "straggler that is no node": (
        ("  nodes: 2", "  nodes: 2\n  stragglers:\n  - nodes: [1]\n  - nodes: [0, 2]"),
        "FILE:9: cluster.stragglers.1.nodes: node 2 doesn't exist: 2 nodes have the ranks 0 to 1",
    ),
    "no budget": (
        ("updates: 3", "loss: 0.1"),
        (
            "FILE:15: stop: needs a budget (virtual_time, updates or samples): "
            "a loss alone may never come"
        ),
    ),
    "no flops to count": (
        ("kind: fixed\n    step_time: 10 ms", "kind: flops"),
        (
            "FILE:7: cluster.machine: torch counts no FLOPs in a step of this "
            "model, so its time is "
            "unknown; use machine {kind: fixed, step_time: ...}"
        ),
    ),
    "duplicate key": (
        ("nodes: 2", "nodes: 2\n  nodes: 3"),
        'FILE:7: not valid YAML: found duplicate key "nodes" with value "3" (original value: "2")',
    ),
    "bad YAML": (
        ("{kind: gaussian}", "{kind: gaussian"),
        "FILE:5: not valid YAML: expected ',' or '}', but got ':'",
    ),
    "unknown alias": (
        ("nodes: 2", "nodes: *many"),
        "FILE:6: not valid YAML: found undefined alias 'many'",
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_one_message_tells_line_key_and_what_was_expected(file, change, message):
    assert change[0] in FILE

    told = refusal(file, FILE.replace(*change)).replace(str(file.parent), "FOLDER")

    assert told == message


def test_a_width_that_heads_can_not_share_is_told_where_it_stands(file):
    text = naming("small.yaml", model="gpt, width: 97")

    assert refusal(file, text) == "FILE:3: task.model: width 97 isn't a multiple of heads 4"


def test_a_text_too_short_for_its_shards_is_refused(file):
    (file.parent / "short.txt").write_text("too short")

    assert refusal(file, naming("short.txt")) == (
        "FILE:4: task.data: 9 bytes of text are too few for 2 shards of windows of 64 bytes"
    )


def test_all_mistakes_are_told_at_once_a_line_each(file):
    text = FILE.replace("nodes: 2", "nodes: no").replace("updates: 3", "updates: no")

    assert [line.split(": ")[0] for line in refusal(file, text).splitlines()] == [
        "FILE:6",
        "FILE:16",
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "small\n"])
def test_a_file_that_is_no_mapping_is_refused(file, text):
    assert refusal(file, text).startswith("FILE:1: expected a mapping of keys such as 'name'")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "no.yaml"

    with pytest.raises(ScenarioError, match=r"no\.yaml: can't be read: No such file or directory$"):
        load(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ScenarioError, match="can't be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name: \x01"])
def test_bytes_that_are_no_text_are_refused(tmp_path, content):
    path = tmp_path / "bytes.yaml"
    path.write_bytes(content)

    with pytest.raises(ScenarioError, match=r"not UTF-8 text|not valid YAML: unacceptable"):
        load(path)


@pytest.mark.parametrize(
    ("assignment", "change"),
    [
        ("network.latency=20 ms", ("latency: 1 ms", "latency: 20 ms")),
        ("network.latency = 20 ms", ("latency: 1 ms", "latency: 20 ms")),
        ("seeds=[5]", ("seeds: [0, 1]", "seeds: [5]")),
        ("seeds.1=7", ("seeds: [0, 1]", "seeds: [0, 7]")),
        ("network={kind: instant}", ("latency: 1 ms\n  kind: star", "kind: instant")),
        ("strategies.ps.combine=gradients", ("_server}", "_server, combine: gradients}")),
        (
            "cluster.machine.jitter.kind=constant",
            ("kind: fixed", "kind: fixed\n    jitter: {kind: constant}"),
        ),
        ("stop.samples=9", ("updates: 3", "updates: 3\n  samples: 9")),
        ("evaluate_every=2", ("seeds:", "evaluate_every: 2\nseeds:")),
    ],
)
def test_a_key_set_from_outside_reads_as_if_it_stood_in_the_file(file, assignment, change):
    file.write_text(FILE.replace(*change))
    in_the_file = load(file)

    file.write_text(FILE)

    assert load(file, [assignment]) == in_the_file
    assert load(file) != in_the_file


@pytest.mark.parametrize(
    ("assignment", "found"),
    [
        ("network.latency=7 ms", lambda scenario: scenario.network.latency == 7_000_000),
        (
            "cluster.machine.jitter.sigma=0.7",
            lambda scenario: scenario.cluster.machine.jitter.sigma == 0.7,
        ),
    ],
)
def test_a_key_of_a_section_that_the_file_leaves_out_is_one_of_its_default(file, assignment, found):
    file.write_text("name: short\nstrategies: {a: {kind: averaging}}\nstop: {updates: 5}\n")

    assert not found(load(file))
    assert found(load(file, [assignment]))


def test_of_two_settings_the_later_one_counts(file):
    file.write_text(FILE)

    assert load(file, ["seeds=[5]", "seeds.0=6"]).seeds == (6,)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "network.latncy=5 ms",
            (
                "--set network.latncy: unknown key 'latncy'; did you "
                "mean 'latency'? "
                "(known: kind, transport, bandwidth, bandwidth_down, latency, jitter, loss, burst)"
            ),
        ),
        (
            "network.latency=5",
            ("--set network.latency: expected a number and one of h, min, s, ms, us, ns; got 5"),
        ),
        (
            "strategies.ps.server=7",
            ("--set strategies.ps.server: node 7 doesn't exist: 2 nodes have the ranks 0 to 1"),
        ),
        (
            "task.data.kind=text",
            (
                "FILE:2 with --set task.data.kind: task: model quadratic takes noise but data text "
                "yields tokens; data that would do: gaussian"
            ),
        ),
        (
            "cluster.stragglers=[{nodes: [3]}]",
            (
                "--set cluster.stragglers: cluster.stragglers.0.nodes: node 3 doesn't exist: "
                "2 nodes have the ranks 0 to 1"
            ),
        ),
        (
            "seeds.2=9",
            "--set 'seeds.2=9': seeds is a list of 2; expected an index from 0, got '2'",
        ),
        (
            "seeds.first=9",
            "--set 'seeds.first=9': seeds is a list of 2; expected an index from 0, got 'first'",
        ),
        ("name.first=a", "--set 'name.first=a': name holds no keys"),
        ("name.first.second=a", "--set 'name.first.second=a': name holds no keys"),
        (
            "seeds",
            "--set 'seeds': expected KEY=VALUE, such as network.latency=5ms",
        ),
        (
            ".=1",
            "--set '.=1': expected KEY=VALUE, such as network.latency=5ms",
        ),
        (
            "seeds=[1",
            "--set 'seeds=[1': not valid YAML: expected ',' or ']', but got '<stream end>'",
        ),
    ],
)
def test_what_is_set_wrongly_is_told_as_such(file, assignment, message):
    assert refusal(file, FILE, assignment) == message


def test_the_run_id_depends_on_contents_and_not_on_names(file):
    def run_id(name, content):
        (file.parent / name).write_text(content * 3000)
        file.write_text(naming(name))
        return load(file).run_id

    assert run_id("a.txt", "to be ") == run_id("b.txt", "to be ")
    assert run_id("a.txt", "to be ") != run_id("c.txt", "not to be ")


@pytest.mark.parametrize(
    "change",
    [
        ("nodes: 2", "nodes: 3"),
        ("updates: 3", "updates: 4"),
        ("seeds: [0, 1]", "seeds: [1, 0]"),
        ("latency: 1 ms", "latency: 2 ms"),
        ("ps: {", "server: {"),
    ],
)
def test_the_run_id_depends_on_every_answer(file, change):
    file.write_text(FILE)
    before = load(file).run_id

    file.write_text(FILE.replace(*change))

    assert load(file).run_id != before


def test_comments_and_the_order_of_keys_do_not_change_the_run_id(file):
    file.write_text(FILE)
    before = load(file).run_id

    file.write_text(
        "# hello\n" + FILE.replace("latency: 1 ms\n  kind: star", "kind: star\n  latency: 1 ms")
    )

    assert load(file).run_id == before


def test_data_that_are_too_few_for_any_one_shard_are_refused(tmp_path):
    file = tmp_path / "few.yaml"
    file.write_text(
        "name: few\n"
        "task: {model: {kind: logistic}, data: {kind: classification, samples: 5}}\n"
        "cluster: {nodes: 8, machine: {kind: fixed}}\n"
        "strategies: {a: {kind: averaging}}\n"
        "stop: {updates: 1}\n"
    )
    with pytest.raises(ScenarioError, match=r"few.yaml:2: task.data: 5 samples are too few"):
        load(file)
    (tmp_path / "short.txt").write_text("too short")
    file.write_text(
        "name: few\n"
        "task: {data: {kind: text, path: short.txt}}\n"
        "strategies: {a: {kind: averaging}}\n"
        "stop: {updates: 1}\n"
    )
    with pytest.raises(ScenarioError, match=r"few.yaml:2: task.data: .* too few"):
        load(file)
