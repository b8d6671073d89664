"""A scenario whose nodes are groups of devices: its records, its memory, what it refuses."""

from collections import Counter

import pytest
from pydantic import ValidationError

from simbench.cluster.cluster import Cluster
from simbench.cluster.jitters.constant import Constant
from simbench.cluster.machines.fixed import Fixed
from simbench.devices import StepTimes
from simbench.execution.memo import Memo
from simbench.execution.processes import ProcessExecutor
from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Graph
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.privacy import Privacy
from simbench.learning.task import Task
from simbench.network.topologies.star import Star
from simbench.parallel.parallel import InnerLink, Parallel
from simbench.parallel.pipelines.gpipe import GPipe
from simbench.parallel.pipelines.interleaved import Interleaved
from simbench.parallel.pipelines.one_forward_one_backward import OneForwardOneBackward
from simbench.parallel.shardings.zero1 import Zero1
from simbench.parallel.shardings.zero3 import Zero3
from simbench.plan import plan
from simbench.records import RunFolder
from simbench.run import run as run_whole
from simbench.scenario import Scenario, Stop
from simbench.scenario_file import dump
from simbench.simulation import simulate
from simbench.strategies.adacomm import AdaComm
from simbench.strategies.asynchronous import Asynchronous
from simbench.strategies.averaging import Averaging
from simbench.testing import MS, run

TASK = Task(
    model=GPT(layers=4, width=16, heads=2, context=12),
    data=Text(validation_samples=20),
    batch_size=8,
    optimizer=AdamW(learning_rate=0.01),
    dtype="float64",
)
FAST = InnerLink(bandwidth=10**15, latency=0)
PIPELINE = Parallel(pipeline=OneForwardOneBackward(stages=2, microbatches=4), link=FAST)
EVERYTHING = Parallel(
    pipeline=Interleaved(stages=2, microbatches=2), tensor=2, sharding=Zero3(devices=2), link=FAST
)


def scenario_of(parallel=None, strategy=None, memory=None, **changes):
    machine = Fixed(step_time=90 * MS, jitter=Constant(), memory=memory)
    return Scenario(
        **{
            "name": "parallel",
            "task": TASK,
            "cluster": Cluster(nodes=2, machine=machine),
            "network": Star(bandwidth=10**9, latency=MS),
            "strategies": {"only": strategy or Averaging()},
            "parallel": parallel,
            "evaluate_every": 2,
            "stop": Stop(updates=4),
            "seeds": (0,),
            **changes,
        }
    )


def refusal(*arguments, **keys):
    with pytest.raises(ValidationError) as told:
        scenario_of(*arguments, **keys)
    (error,) = told.value.errors()
    return error["loc"], error["msg"]


@pytest.mark.parametrize(
    ("parallel", "strategy"),
    [
        (EVERYTHING, Averaging()),
        (PIPELINE, Averaging(combine="gradients", bucket=20_000)),
        (PIPELINE, Asynchronous()),
        (PIPELINE, AdaComm(period=2)),
    ],
    ids=["everything", "buckets", "asynchronous", "a loss that is looked at"],
)
def test_strategies_learn_what_they_learn_on_whole_devices(parallel, strategy):
    whole, split = run(scenario_of(strategy=strategy)), run(scenario_of(parallel, strategy))

    assert whole.summary["parameters_sha256"] != split.summary["parameters_sha256"]
    losses = [[each.loss for each in outcome.evaluations] for outcome in (whole, split)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    assert losses[0][-1] < losses[0][0] - 0.1
    # Nodes talk as they did; what their devices tell each other is nobody else's.
    assert split.summary["payload_bytes"] == whole.summary["payload_bytes"]


def test_schedules_are_one_training():
    """They decide when a pass is made, not which."""
    memo, executor = Memo(None), ThreadExecutor(1)
    kinds = GPipe(stages=2, microbatches=4), OneForwardOneBackward(stages=2, microbatches=4)
    outcomes = [
        simulate(scenario_of(Parallel(pipeline=kind)), "only", 0, executor, memo) for kind in kinds
    ]
    executor.close()

    assert outcomes[0].known["gradient"] == 0
    assert outcomes[1].known["gradient"] == 8
    assert executor.operations_run["gradient"] == 8
    assert executor.operations_run["part_backward"] == 8 * 4 * 2


def test_planning_works_no_pass_out(monkeypatch):
    """A gradient of many devices is thousands of passes: what the clock needs is its key."""
    memo, scenario = Memo(None), scenario_of(EVERYTHING)
    asked, recipe = Counter(), Graph.recipe

    def counted(graph, operation, *rest, **keys):
        asked[operation.name] += 1
        return recipe(graph, operation, *rest, **keys)

    monkeypatch.setattr(Graph, "recipe", counted)

    planned = plan(scenario, "only", 0, memo, "")

    assert planned.gradients == 8
    assert asked["step"] > 0
    assert not {"take_part", "part_forward", "part_backward"} & asked.keys()


def test_stages_may_lie_on_different_actors():
    """One node, so what there is to share out are its devices."""
    scenario = scenario_of(
        PIPELINE, cluster=Cluster(nodes=1, machine=Fixed()), stop=Stop(updates=1)
    )
    assert scenario.num_devices == 2
    here = run(scenario)
    executor = ProcessExecutor(scenario.num_devices, 2)
    try:
        apart = simulate(scenario, "only", 0, executor, Memo(None))
        ran = [each[0]["part_backward"] for each in executor._call_all("counts")]
    finally:
        executor.close()

    assert apart.evaluations == here.evaluations
    assert min(ran) > 0


def test_a_step_takes_what_its_timetable_says():
    """Half of each layer is a device's, so a step of 90 ms takes 45 ms and the bubble."""
    alike = TASK.model_copy(update={"model": GPT(layers=2, width=16, heads=2, context=12)})
    scenario = scenario_of(PIPELINE, task=alike)
    group = scenario.group

    step = group.step(90 * MS, 2 / 3)
    first = run(scenario).updates[0].time_ns

    vector_ns = 2 * (MS + 8 * alike.vector_bytes // 2)
    assert first == pytest.approx(step.end_ns + vector_ns, abs=4)
    # The head makes the second stage the slower one: it never waits but at both ends.
    slow_ns = max(step.table.busy_ns)
    rest_ns = sum(step.table.busy_ns) - slow_ns
    assert sum(step.table.busy_ns) == pytest.approx(90 * MS, abs=16)
    # The tied embedding is summed up over a link that is hardly there.
    assert step.end_ns == pytest.approx(slow_ns + rest_ns / 4, abs=20)


@pytest.mark.parametrize(
    ("parallel", "share"), [(None, 2 / 3), (Parallel(tensor=2), 2 / 3), (PIPELINE, 0)]
)
def test_what_is_added_up_comes_out_at_the_end(parallel, share):
    """No bucket of a gradient is whole before the last micro-batch."""
    scenario = scenario_of(parallel)

    times = StepTimes(scenario.cluster, TASK, 0, scenario.group)

    assert times.backward_share(0) == share


def test_a_machine_need_hold_its_part_alone():
    needed = scenario_of(PIPELINE).device_bytes
    # The second of two equal stages has the final norm, the first one the positions.
    states, width = 4 * 8, TASK.model.width
    layers, embedding = TASK.num_parameters - 256 * width - 12 * width - 2 * width, 256 * width
    assert needed == states * (layers // 2 + embedding + 12 * width)

    scenario_of(PIPELINE, memory=needed)
    location, message = refusal(PIPELINE, memory=needed - 1)

    assert location == ("cluster", "machine", "memory")
    assert "a device" in message
    assert "1 B too little" in message


def test_a_device_has_its_part_of_the_vocabulary():
    """Of two tensor-parallel devices the first has most: half, and all of what no other has."""
    width, layers = TASK.model.width, TASK.model.layers
    outer_biases, norms, places = 2 * layers * width, (4 * layers + 2) * width, 12 * width
    whole = outer_biases + norms + places

    needed = scenario_of(Parallel(tensor=2)).device_bytes

    assert needed == 4 * 8 * ((TASK.num_parameters - whole) // 2 + whole)


def test_the_embedding_is_summed_up_by_each_with_its_neighbour():
    pipeline = GPipe(stages=2, microbatches=4)
    one, two = (scenario_of(Parallel(pipeline=pipeline, tensor=t)).group for t in (1, 2))

    layers = TASK.model.layers
    activation = 8 * 12 * TASK.model.width * 8
    assert one.traffic.sums == 2 * 256 * TASK.model.width * 8
    assert two.traffic.sums == one.traffic.sums + 4 * layers * 2 * activation
    assert two.traffic.vocabulary == 2 * (2 * activation + 3 * 8 * 12 * 8)


def test_sharded_state_fits_into_less():
    whole, sharded = scenario_of(), scenario_of(Parallel(sharding=Zero3(devices=4)))

    assert sharded.device_bytes == -(-whole.device_bytes // 4)


@pytest.mark.parametrize(
    ("parallel", "changes", "location", "message"),
    [
        (
            Parallel(pipeline=GPipe(stages=2, microbatches=3)),
            {},
            ("pipeline", "microbatches"),
            "a batch of 8 samples can't be 3 equal micro-batches",
        ),
        (
            Parallel(sharding=Zero1(devices=3)),
            {},
            ("sharding", "devices"),
            "a batch of 8 samples can't be 3 equal micro-batches",
        ),
        (
            Parallel(pipeline=GPipe(stages=8)),
            {},
            ("pipeline",),
            "4 layers can't make 8 stages",
        ),
        (Parallel(tensor=4), {}, ("tensor",), "2 heads aren't a multiple of 4 devices"),
        (
            Parallel(pipeline=GPipe()),
            {"task": Task(model=Logistic(), data=Classification())},
            ("pipeline",),
            "model logistic can't be split so",
        ),
    ],
)
def test_what_cant_be_split_is_refused(parallel, changes, location, message):
    assert refusal(parallel, **changes) == (("parallel", *location), message)


@pytest.mark.parametrize("task", [{"privacy": Privacy()}, {"mixed_precision": "bfloat16"}])
def test_what_parts_cant_do_is_refused(task):
    changed = TASK.model_copy(update={"dtype": "float32", **task})

    location, message = refusal(PIPELINE, task=changed)

    assert location == ("parallel",)
    assert message == f"can't split a gradient with task.{next(iter(task))}"


def test_what_is_accumulated_is_so_many_more_micro_batches():
    doubled = TASK.model_copy(update={"batch_size": 4, "accumulate": 2})

    stop = Stop(updates=1)
    one, other = (run(scenario_of(PIPELINE, task=t, stop=stop)) for t in (TASK, doubled))

    assert [e.loss for e in other.evaluations] == [e.loss for e in one.evaluations]


@pytest.mark.parametrize(
    ("keys", "location", "message"),
    [
        ({}, (), "splits nothing: expected pipeline, tensor or sharding"),
        (
            {"pipeline": {"kind": "gpipe", "stages": 1}},
            ("pipeline", "stages"),
            "has no effect: expected 2 or more",
        ),
        (
            {"sharding": {"kind": "zero2", "devices": 1}},
            ("sharding", "devices"),
            "has no effect: expected 2 or more",
        ),
        (
            {"pipeline": {"kind": "interleaved", "stages": 4, "microbatches": 6}},
            ("pipeline", "interleaved", "microbatches"),
            "6 aren't a multiple of the 4 stages, as an interleaved pipeline needs",
        ),
    ],
)
def test_what_splits_nothing_is_refused(keys, location, message):
    with pytest.raises(ValidationError) as told:
        Parallel.model_validate(keys)

    (error,) = told.value.errors()
    assert (error["loc"], error["msg"]) == (location, message)


def test_a_scenario_without_groups_is_written_as_before():
    assert "parallel:" not in dump(scenario_of())
    assert "parallel:" in dump(scenario_of(EVERYTHING))


def test_a_run_tells_what_its_devices_do(tmp_path):
    scenario = scenario_of(PIPELINE, stop=Stop(updates=1))
    executor = ThreadExecutor(1)
    folder = run_whole(scenario, executor, Memo(None), RunFolder(tmp_path / "run"))
    executor.close()

    facts = folder.summary["group"]
    assert facts["devices"] == 2
    assert facts["alone_ns"] == 90 * MS
    assert facts["step_ns"] == scenario.group.step(90 * MS, 2 / 3).end_ns
    assert facts["activations_bytes"] == 2 * 8 * 12 * 16 * 8
    assert facts["sums_bytes"] == 2 * 256 * 16 * 8
    assert facts["state_bytes"] == 0
    assert facts["vocabulary_bytes"] == 0
