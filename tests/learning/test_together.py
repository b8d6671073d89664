"""Several operations in one call give what each gives alone, up to the order of additions."""

import functools

import pytest
import torch

from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.operations import Bench, EvaluatePart, Gradient, Initial, Loss, Step
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.schedules.cosine import Cosine
from simbench.learning.task import Task
from simbench.learning.transforms.clip_by_norm import ClipByNorm
from simbench.learning.transforms.clip_by_value import ClipByValue

NODES = 5

TASKS = {
    "quadratic": Task(
        model=Quadratic(curvature=(1.0, 4.0), optimum=(0.0, 1.0, -1.0), condition=3, noise=0.5),
        data=Gaussian(),
    ),
    "logistic": Task(model=Logistic(), data=Classification()),
    "gpt": Task(
        model=GPT(layers=2, width=16, heads=2, context=8), data=Text(validation_samples=40)
    ),
}


def task_of(name, dtype="float64", **changes):
    return TASKS[name].model_copy(update={"dtype": dtype, "batch_size": 3, **changes})


def bench_of(task):
    return Bench(task, 0, NODES, "cpu", "")


def vectors(bench, *, shared):
    first = Initial(bench)()
    noise = torch.Generator().manual_seed(0)
    one = first + 0.1 * torch.randn(first.shape, generator=noise, dtype=first.dtype)
    return [one if shared else one * (1 + rank / 10) for rank in range(NODES)]


def assert_same(found, expected, dtype):
    tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= tolerance * other.abs().max()
        assert one.dtype is other.dtype
        assert one.shape == other.shape
        assert one.untyped_storage().nbytes() == one.nbytes, "a view keeps all of them alive"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", TASKS)
def test_gradients_and_losses_are_those_of_each_node(name, shared, dtype):
    bench = bench_of(task_of(name, dtype))
    calls = [(x, rank, 7 - rank) for rank, x in enumerate(vectors(bench, shared=shared))]

    for operation in (Gradient(bench), Loss(bench)):
        assert len({operation.alike(*call) for call in calls}) == 1
        expected = [operation(*call) for call in calls]
        assert len({tuple(each.flatten().tolist()) for each in expected}) == NODES
        assert_same(operation.together(calls), expected, dtype)


def test_micro_batches_are_accumulated_together():
    bench = bench_of(task_of("gpt", accumulate=3, batch_size=2))
    calls = [(x, rank, 0) for rank, x in enumerate(vectors(bench, shared=False))]

    expected = [Gradient(bench)(*call) for call in calls]

    assert_same(Gradient(bench).together(calls), expected, "float64")


def test_bfloat16_is_used_together_as_alone():
    bench = bench_of(task_of("gpt", "float32", mixed_precision="bfloat16"))
    plain = Gradient(bench_of(task_of("gpt", "float32")))
    calls = [(x, rank, 0) for rank, x in enumerate(vectors(bench, shared=False))]

    found = Gradient(bench).together(calls)

    for one, call in zip(found, calls, strict=True):
        exact = plain(*call)
        error = (one - exact).norm() / exact.norm()
        assert 1e-4 < error < 2e-2
        assert error < 2 * (Gradient(bench)(*call) - exact).norm() / exact.norm()


@pytest.mark.parametrize("shared", [True, False])
def test_parts_of_the_held_out_data_are_evaluated_together_if_they_are_as_long(shared):
    bench = bench_of(task_of("gpt"))
    evaluate = EvaluatePart(bench)
    shapes = [evaluate.alike(None, part) for part in range(evaluate.num_parts)]
    assert shapes == [((16, 8), (16, 8)), ((16, 8), (16, 8)), ((8, 8), (8, 8))]
    points = vectors(bench, shared=shared)
    calls = [(points[0], 0), (points[1], 1)]

    found = evaluate.together(calls)

    for (loss, size, accuracy), call in zip(found, calls, strict=True):
        expected, expected_size, expected_accuracy = evaluate(*call)
        assert loss == pytest.approx(expected, rel=1e-12)
        assert size == expected_size == 16
        assert accuracy == expected_accuracy > 0


OPTIMIZERS = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
    "adamw": AdamW(),
    "with a chain": SGD(transforms=(ClipByValue(value=0.05),), schedule=(Cosine(steps=5),)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_several_nodes_are_those_of_each_for_several_rounds(name):
    bench = bench_of(task_of("logistic"))
    step = Step(bench, OPTIMIZERS[name])
    alone = together = [(x, {}) for x in vectors(bench, shared=False)]
    for number in range(3):
        slopes = [Gradient(bench)(x, rank, number) for rank, (x, _) in enumerate(alone)]
        alone = [step(*each, slope) for each, slope in zip(alone, slopes, strict=True)]
        calls = [(*each, slope) for each, slope in zip(together, slopes, strict=True)]
        assert len({step.alike(*call) for call in calls}) == 1
        together = step.together(calls)
    assert_same([x for x, _ in together], [x for x, _ in alone], "float64")
    for (_, state), (_, expected) in zip(together, alone, strict=True):
        assert state.keys() == expected.keys()
        assert_same(state.values(), expected.values(), "float64")


def test_optimisers_that_have_gone_unequally_far_step_apart():
    bench = bench_of(task_of("logistic"))
    step, x = Step(bench, AdamW()), Initial(bench)()
    slope = Gradient(bench)(x, 0, 0)
    once = step(x, {}, slope)
    twice = step(*once, slope)

    assert step.alike(*once, slope) == step.alike(*once, slope)
    assert len({step.alike(x, {}, slope), *(step.alike(*s, slope) for s in (once, twice))}) == 3


def test_a_step_that_looks_at_the_whole_gradient_stays_alone():
    bench = bench_of(task_of("logistic"))
    x = Initial(bench)()

    assert Step(bench, SGD(transforms=(ClipByNorm(norm=1.0),))).alike(x, {}, x) is None
    assert Step(bench, SGD()).alike(x, {}, x) is not None


def test_a_quadratic_on_one_node_is_that_node_whatever_the_others_are():
    quadratic = functools.partial(Quadratic, dimension=3, start=2.0)
    all_nodes = Task(
        model=quadratic(curvature=(1.0, 4.0), optimum=(0.0, 1.0)), data=Gaussian(), dtype="float64"
    )
    bench = bench_of(all_nodes)
    calls = [(Initial(bench)(), rank, 0) for rank in range(NODES)]

    # a (x - c) at x = 2.
    assert [each.tolist() for each in Gradient(bench).together(calls)] == [
        [2.0] * 3 if rank % 2 == 0 else [4.0] * 3 for rank in range(NODES)
    ]
