"""On a GPU the same operations give the same numbers, and the same bits twice."""

import pickle

import pytest
import ray
import torch
from plug_ins import data_for, every

from simbench.cluster.cluster import Cluster
from simbench.cluster.machines.fixed import Fixed
from simbench.execution.actor import Actor, Program
from simbench.execution.device import prepare
from simbench.execution.memo import Memo
from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Graph
from simbench.execution.vectorised import VectorisedExecutor
from simbench.learning.models.gpt import GPT
from simbench.learning.operations import Bench, Gradient, Initial, Step
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.task import Task
from simbench.learning.training import Training
from simbench.ray_cluster.executor import RayExecutor
from simbench.scenario import Stop
from simbench.simulation import simulate
from simbench.strategies.averaging import Averaging
from simbench.strategies.parameter_server import ParameterServer
from simbench.testing import MS, small_scenario

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine"),
]


def test_a_gradient_on_a_gpu_is_that_of_the_processor():
    task = Task(model=GPT(layers=1, width=32, heads=2, context=16), batch_size=2)
    gradients = []
    for device in ("cpu", "cuda", "cuda"):
        bench = Bench(task, 0, 2, device, "")
        gradients.append(Gradient(bench)(Initial(bench)(), 0, 0).cpu())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)
    assert torch.equal(gradients[1], gradients[2])


def test_a_moment_of_a_gpu_goes_on_there_with_the_same_bits(tmp_path):
    """Two steps in one go, and two with a moment between, as an actor keeps it and takes it up."""
    task = Task(model=GPT(layers=1, width=32, heads=2, context=16), optimizer=AdamW())
    bench = Bench(task, 0, 2, "cuda", "")
    step, gradient = Step(bench, task.optimizer), Gradient(bench)
    first = Initial(bench)()
    second, state = step(first, {}, gradient(first, 0, 0))
    third, _ = step(second, state, gradient(second, 0, 1))
    memo = Memo(tmp_path)

    memo.moments.keep(b"owner", "run", {b"parameters": second, b"state": state})
    kept = [memo.moments.recall(key) for key in (b"parameters", b"state")]
    memo.close()
    actor = Actor("127.0.0.1", "cuda")
    program = Program(
        era=0,
        operations={0: gradient, 1: step},
        given=dict(enumerate(kept)),
        tasks=[(2, 0, [0], (0, 1), False), (3, 1, [0, 1, 2], (), False)],
        wanted=[3],
    )
    try:
        actor.extend(pickle.dumps(program))
        _, _, error, (again, _) = pickle.loads(next(actor.news()))  # noqa: S301 - our own
    finally:
        actor._wires.close()

    assert {kept[0].device.type, kept[1]["exp_avg"].device.type} == {"cpu"}
    assert error is None
    assert again.device.type == "cpu"
    assert torch.equal(again, third.cpu())


def small(strategy=None, *, vectorise=False, faults=(), **task):
    scenario = small_scenario(
        strategy or Averaging(combine="gradients"),
        cluster=Cluster(nodes=6, machine=Fixed(step_time=20 * MS)),  # Krum needs 5
        vectorise=vectorise,
        faults=faults,
        evaluate_every=2,
        stop=Stop(samples=96),
    )
    settings = {"batch_size": 2, **task}
    return scenario.model_copy(update={"task": scenario.task.model_copy(update=settings)})


MADE = {
    "strategies": small,
    "strategies.compression": lambda c: small(Averaging(combine="gradients", compression=c)),
    "strategies.aggregator": lambda a: small(ParameterServer(combine="gradients", aggregator=a)),
    "task.gradient": lambda transform: small(gradient=(transform,)),
    "task.optimizer": lambda optimizer: small(optimizer=optimizer),
    "task.optimizer.schedule": lambda s: small(optimizer=SGD(learning_rate=0.01, schedule=(s,))),
    "task.model": lambda model: small(model=model, data=data_for(model)),
    "faults": lambda fault: small(faults=(fault,)),
}
CASES = [
    pytest.param(make, choice, id=f"{key}-{kind}")
    for key, make in MADE.items()
    for kind, choice in every(key).items()
]


def run_on(executor, scenario):
    prepare(executor.device)
    try:
        return simulate(scenario, "law", 0, executor, Memo(None))
    finally:
        executor.close()


def losses(outcome):
    return torch.tensor([each.loss for each in outcome.evaluations], dtype=torch.float64)


@pytest.mark.parametrize(("make", "choice"), CASES)
def test_a_run_on_a_gpu_is_that_of_the_processor_and_the_same_twice(make, choice):
    scenario = make(choice)
    on_processor = run_on(ThreadExecutor(2), scenario)
    one, other = (run_on(ThreadExecutor(2, "cuda"), scenario) for _ in range(2))

    # Where a number lies between two that a payload can carry, its last bit decides for one.
    compresses = make is MADE["strategies.compression"]
    close = {"rtol": 1e-6 if compresses else 1e-9, "atol": 1e-12}
    torch.testing.assert_close(losses(one), losses(on_processor), **close)
    assert one.evaluations == other.evaluations, "streams changed its bits"
    assert [each.time_ns for each in one.evaluations] == [
        each.time_ns for each in on_processor.evaluations
    ]


@pytest.mark.parametrize(
    "strategy", [pytest.param(each, id=kind) for kind, each in every("strategies").items()]
)
def test_a_vectorised_run_on_a_gpu_is_that_of_the_processor(strategy):
    plain = run_on(ThreadExecutor(1), small(strategy))
    scenario = small(strategy, vectorise=True)
    one, other = (run_on(VectorisedExecutor("cuda"), scenario) for _ in range(2))

    torch.testing.assert_close(losses(one), losses(plain), rtol=1e-9, atol=1e-12)
    assert one.evaluations == other.evaluations


@pytest.mark.parametrize("optimizer", [AdamW(), SGD(momentum=0.9)], ids=str)
@pytest.mark.parametrize("width", [1, 4])
def test_from_one_operation_to_the_next_nothing_comes_to_the_processor(optimizer, width):
    """Nor does anybody wait for the GPU: batches go there in the order of its stream."""
    task = Task(model=GPT(layers=1, width=32, heads=2, context=16), optimizer=optimizer)
    graph = Graph()
    training = Training(graph, Bench(task, 0, 4, "cuda", ""), optimizer)
    parameters, state = training.initial(0)
    executor = VectorisedExecutor("cuda")
    try:
        for step in range(4):
            # The first uploads the model and makes what is kept.
            torch.cuda.set_sync_debug_mode("error" if step else "default")
            gradients = [training.gradient(parameters, rank, step) for rank in range(width)]
            mean = training.mix(gradients, None, 0)
            parameters, state = training.step(parameters, state, mean, 0)
            executor.start(parameters).result()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        executor.close()
    assert parameters.result.is_cuda
    assert bool(parameters.result.isfinite().all())


@pytest.mark.parametrize("mixed_precision", [None, "bfloat16"])
def test_gradients_of_several_nodes_in_one_call_are_those_of_each(mixed_precision):
    task = Task(
        model=GPT(layers=2, width=32, heads=2, context=16, positions="rotary"),
        batch_size=2,
        mixed_precision=mixed_precision,
    )
    gradient = Gradient(Bench(task, 0, 4, "cuda", ""))
    exact = Gradient(Bench(task.model_copy(update={"mixed_precision": None}), 0, 4, "cpu", ""))
    first = Initial(gradient.bench)()
    for points in ([first] * 4, [first * (1 + rank / 10) for rank in range(4)]):
        calls = [(point, rank, 3) for rank, point in enumerate(points)]
        for found, (point, *numbers) in zip(gradient.together(calls), calls, strict=True):
            expected = exact(point.cpu(), *numbers)
            error = (found.cpu() - expected).norm() / expected.norm()
            assert error < (1e-5 if mixed_precision is None else 3e-2)


def test_a_compiled_gradient_on_a_gpu_is_that_of_the_interpreter():
    found = []
    for compiled in (False, True):
        task = Task(
            model=GPT(layers=1, width=32, heads=2, context=16), batch_size=2, compile=compiled
        )
        bench = Bench(task, 0, 2, "cuda", "")
        found.append(Gradient(bench)(Initial(bench)(), 0, 0))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def ray_with_gpu():
    ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_with_gpu")
@pytest.mark.parametrize("strategy", [Averaging(), ParameterServer()], ids=["averaging", "server"])
def test_actors_that_share_a_gpu_give_the_same_bits_as_one(strategy):
    outcomes = []
    for nodes_per_actor in (6, 3, 2):
        executor = RayExecutor(6, nodes_per_actor)
        assert executor.device == "cuda"
        outcomes.append(run_on(executor, small(strategy)))
    assert outcomes[0].evaluations == outcomes[1].evaluations == outcomes[2].evaluations
    plain = run_on(ThreadExecutor(1), small(strategy))
    torch.testing.assert_close(losses(outcomes[0]), losses(plain), rtol=1e-9, atol=0)
