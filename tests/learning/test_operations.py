"""The operations of training against plain PyTorch, and that they are pure."""

import hashlib
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from simbench.execution.threads import ThreadExecutor
from simbench.execution.values import Graph
from simbench.learning.operations import (
    Cut,
    EvaluatePart,
    Evaluation,
    FreshState,
    Gradient,
    Initial,
    Item,
    Loss,
    LossNumber,
    Mix,
    Paste,
    Step,
)
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.optimizers.sgd import SGD
from simbench.learning.training import Training
from simbench.learning.vectors import flatten
from simbench.seeds import generator

OPTIMIZERS = {
    "sgd": SGD(learning_rate=0.3),
    "decay": SGD(learning_rate=0.3, weight_decay=0.1),
    "momentum": SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": AdamW(learning_rate=0.01, weight_decay=0.1, beta2=0.99),
}


def same(a, b):
    """Whether two results are the same, to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def plain_module(bench, parameters):
    """Return a module of the task's model in the way that every tutorial makes one."""
    module = bench.task.model.build().to(bench.task.torch_dtype)
    nn.utils.vector_to_parameters(parameters.clone(), module.parameters())
    return module


def batch_of(bench, rank, step):
    task = bench.task
    draw = generator(bench.seed, "batch", rank, step)
    batch = task.batch(draw, rank, (1,) * bench.num_shards)
    return bench.place(batch)


# -- the gradient


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_is_that_of_plain_autograd(task, bench_for, dtype):
    bench = bench_for(task, dtype=dtype)
    parameters = Initial(bench)() + 0.1

    gradient = Gradient(bench)(parameters, 1, 7)

    module = plain_module(bench, parameters)
    task.model.loss(module, batch_of(bench, 1, 7)).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in module.parameters()])
    assert gradient.dtype == bench.task.torch_dtype
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


def test_the_gradient_is_the_slope_of_the_loss(task, bench_for):
    bench = bench_for(task, dtype="float64")
    parameters = Initial(bench)()
    direction = torch.randn(
        len(parameters), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )

    def loss(shift):
        return float(Loss(bench)(parameters + shift * direction, 0, 3))

    slope = float(Gradient(bench)(parameters, 0, 3) @ direction)

    assert slope == pytest.approx((loss(1e-5) - loss(-1e-5)) / 2e-5, rel=1e-5)


def test_the_loss_is_that_of_a_plain_module_and_a_number(task, bench_for):
    bench = bench_for(task)
    parameters = Initial(bench)() + 0.1
    loss = Loss(bench)(parameters, 1, 7)
    with torch.no_grad():
        expected = task.model.loss(plain_module(bench, parameters), batch_of(bench, 1, 7))
    assert torch.equal(loss, expected)
    assert not loss.requires_grad
    assert LossNumber()(loss) == float(expected)
    assert Loss(bench).identity != Gradient(bench).identity


def test_the_gradient_depends_on_rank_step_and_seed(task, bench_for):
    bench, other = bench_for(task), bench_for(task, seed=1)
    parameters = Initial(bench)() + 0.1

    gradients = [
        Gradient(each)(parameters, rank, step)
        for each in (bench, other)
        for rank in range(2)
        for step in range(2)
    ]

    assert not any(torch.equal(a, b) for a, b in itertools.combinations(gradients, 2))


def test_many_threads_give_the_gradients_of_one(task, bench_for):
    """The trap: threads that share a module gave 28 silently wrong gradients of 60."""
    bench = bench_for(task)
    draw = torch.Generator().manual_seed(3)
    num_entries = len(Initial(bench)())
    points = [
        torch.randn(num_entries, generator=draw).to(bench.task.torch_dtype) / 10 for _ in range(60)
    ]

    class Point:
        """Hands out a point."""

        name = "point"
        identity = "point"

        def __call__(self, index):
            return points[index]

    results = []
    for num_threads in (1, 4):
        graph, pool = Graph(), ThreadExecutor(num_threads)
        gradients = [
            graph.recipe(Gradient(bench), (graph.recipe(Point(), (), (i,)),), (i % 3, i))
            for i in range(len(points))
        ]
        results.append([pool.start(recipe) for recipe in gradients])
        results[-1] = [future.result() for future in results[-1]]
        pool.close()

    differing = [i for i, pair in enumerate(zip(*results, strict=True)) if not torch.equal(*pair)]
    assert differing == []


# -- the optimiser


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_are_those_of_torch_with_the_state_passed_along(tasks, bench_for, optimizer, dtype):
    bench = bench_for(tasks["gpt"], dtype=dtype)
    parameters, state = Initial(bench)(), FreshState()()
    expected, rounded = (parameters.clone().requires_grad_() for _ in range(2))
    by_kernel, by_loop = optimizer.build([expected]), optimizer.build([rounded])
    if "fused" in by_kernel.param_groups[0]:
        by_kernel.param_groups[0]["fused"] = True

    for step in range(6):
        gradient = Gradient(bench)(parameters, 0, step)
        expected.grad, rounded.grad = gradient.clone(), gradient.clone()
        by_kernel.step()
        by_loop.step()
        parameters, state = Step(bench, optimizer)(parameters, state, gradient)

        assert torch.equal(parameters, expected)
        torch.testing.assert_close(parameters, rounded.detach())


def test_a_flat_vector_steps_as_a_module_of_many_parameters_does(tasks, bench_for):
    bench = bench_for(tasks["gpt"], dtype="float64")
    optimizer = OPTIMIZERS["adamw"]
    parameters, state = Initial(bench)(), FreshState()()
    module = plain_module(bench, parameters)
    torch_optimizer = optimizer.build(module.parameters())

    for step in range(3):
        gradient = Gradient(bench)(parameters, 0, step)
        parameters, state = Step(bench, optimizer)(parameters, state, gradient)
        torch_optimizer.zero_grad()
        bench.task.model.loss(module, batch_of(bench, 0, step)).backward()
        torch_optimizer.step()

        torch.testing.assert_close(parameters, flatten(module), rtol=1e-12, atol=1e-12)


def test_sgd_without_momentum_remembers_nothing(tasks, bench_for):
    step = Step(bench_for(tasks["quadratic"]), SGD())

    _, state = step(torch.ones(4), {}, torch.ones(4))

    assert state == {}


# -- purity


def every_operation(bench):
    """Return (operation, inputs) of everything that reads tensors."""
    parameters = Initial(bench)()
    gradient = Gradient(bench)(parameters, 0, 0)
    calls = [
        (Gradient(bench), (parameters, 0, 0)),
        (EvaluatePart(bench), (parameters, 0)),
        (Evaluation(bench), (parameters, (1.0, 3, 0.5), (2.0, 1, 0.25))),
        (Mix((0.5,)), (parameters,)),
        (Mix((1.0, 1.0)), (parameters, gradient)),
        (Mix((0.25, -1.0)), (parameters, gradient)),
        (Cut(), (parameters, 1, len(parameters))),
        (Paste(), (parameters, gradient, parameters)),
    ]
    for optimizer in OPTIMIZERS.values():
        step = Step(bench, optimizer)
        _, state = step(parameters, {}, gradient)
        calls += [(step, (parameters, {}, gradient)), (step, (parameters, state, gradient))]
        calls += [(Item(0), ((parameters, state),))]
    return calls


def copy(x):
    if isinstance(x, dict):
        return {name: copy(each) for name, each in x.items()}
    if isinstance(x, tuple):
        return tuple(map(copy, x))
    return x.clone() if isinstance(x, torch.Tensor) else x


def test_operations_change_none_of_their_inputs_and_give_the_same_again(task, bench_for):
    for operation, inputs in every_operation(bench_for(task)):
        before = copy(inputs)

        first = operation(*inputs)
        kept = copy(first)
        again = operation(*copy(inputs))

        assert same(inputs, before), operation
        assert same(first, kept), f"a later call of {operation} changed what an earlier one gave"
        assert same(first, again), operation


def test_a_result_shares_no_memory_with_what_may_be_reused(task, bench_for):
    bench = bench_for(task)
    parameters = Initial(bench)()

    gradients = [Gradient(bench)(parameters, 0, step) for step in range(3)]
    EvaluatePart(bench)(parameters, 0)

    starts = {each.untyped_storage().data_ptr() for each in [parameters, *gradients]}
    assert len(starts) == 4
    assert [Gradient(bench)(parameters, 0, step).tolist() for step in range(3)] == [
        each.tolist() for each in gradients
    ]


def test_evaluating_leaves_the_gradient_of_the_same_thread_alone(task, bench_for):
    bench = bench_for(task)
    parameters = Initial(bench)()

    before = Gradient(bench)(parameters, 0, 0)
    EvaluatePart(bench)(parameters + 1, 0)

    assert torch.equal(Gradient(bench)(parameters, 0, 0), before)


BITS = """
import hashlib, sys
from simbench.learning.operations import Bench, Gradient, Initial, Step, FreshState
from simbench.learning.optimizers.adamw import AdamW
from simbench.learning.task import Task
import torch

torch.set_num_threads(1)
bench = Bench(Task.model_validate_json(sys.argv[1], context=""), 0, 3, "cpu", "")
x, state = Initial(bench)(), FreshState()()
for step in range(3):
    x, state = Step(bench, AdamW())(x, state, Gradient(bench)(x, 0, step))
print(hashlib.sha256(x.numpy().tobytes()).hexdigest(), Gradient(bench).identity)
"""


def test_two_processes_give_the_same_bits_and_the_same_identity(tasks):
    command = [sys.executable, "-c", BITS, tasks["gpt"].model_dump_json()]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    printed = [run.communicate()[0] for run in runs]

    assert [run.returncode for run in runs] == [0, 0]
    assert printed[0] == printed[1]
    assert len(printed[0].split()) == 2


# -- means


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_mean_is_the_sum_of_a_balanced_tree_over_the_count(tasks, bench_for, count):
    vectors = list(torch.randn(count, 4, generator=torch.Generator().manual_seed(0)))

    def tree(part):
        if len(part) == 1:
            return part[0]
        middle = (len(part) + 1) // 2
        return tree(part[:middle]) + tree(part[middle:])

    assert torch.equal(mixed(bench_for(tasks["quadratic"]), vectors), tree(vectors) * (1 / count))


@pytest.mark.parametrize("weights", [(2.0,), (0.5, 0.25), (1.0, -1.0), (1.0, 0.5, -2.0)])
def test_a_weighted_sum_is_what_it_says(tasks, bench_for, weights):
    vectors = list(torch.randn(len(weights), 4, generator=torch.Generator().manual_seed(0)))

    total = mixed(bench_for(tasks["quadratic"]), vectors, weights)

    expected = sum(weight * vector for weight, vector in zip(weights, vectors, strict=True))
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=1e-6)


def test_the_mean_of_one_value_many_times_is_that_value(tasks, bench_for):
    graph = Graph()
    training = Training(graph, bench_for(tasks["quadratic"]), SGD())
    x, _ = training.initial(0)

    assert training.mix([x] * 5, None, 0) is x


def mixed(bench, vectors, weights=None):
    """Compute ``Training.mix`` of ``vectors``, which must be different."""

    class Given:
        name = identity = "given"

        def __call__(self, index):
            return vectors[index]

    graph, pool = Graph(), ThreadExecutor(1)
    given = [graph.recipe(Given(), (), (index,)) for index in range(len(vectors))]
    result = pool.start(Training(graph, bench, SGD()).mix(given, weights, 0)).result()
    pool.close()
    # The mean of one vector is that vector.
    return result


# -- evaluation


def test_the_loss_is_the_mean_over_all_held_out_samples(task, bench_for):
    bench = bench_for(task)
    parameters = Initial(bench)() + 0.1
    parts = [EvaluatePart(bench)(parameters, part) for part in range(EvaluatePart(bench).num_parts)]

    evaluation = Evaluation(bench)(parameters, *parts)

    module = plain_module(bench, parameters)
    held_out = task.data.validation(bench.num_shards, task.model.length)
    whole = bench.place(tuple(torch.cat(tensors) for tensors in zip(*held_out, strict=True)))
    with torch.no_grad():
        assert evaluation["loss"] == pytest.approx(float(task.model.loss(module, whole)), rel=1e-5)
    assert sum(size for _, size, _ in parts) == len(whole[0])
    digest = hashlib.sha256(parameters.numpy().tobytes()).hexdigest()
    assert evaluation["parameters_sha256"] == digest


def test_the_recipe_of_an_evaluation_gives_the_same(task, bench_for):
    bench, graph = bench_for(task), Graph()
    training = Training(graph, bench, SGD())
    pool = ThreadExecutor(2)

    result = pool.start(training.evaluation(training.initial(0)[0])).result()
    pool.close()

    x = Initial(bench)()
    parts = [EvaluatePart(bench)(x, part) for part in range(EvaluatePart(bench).num_parts)]
    assert result == Evaluation(bench)(x, *parts)


# -- identities


def test_identities_depend_on_what_results_depend_on_and_on_nothing_else(tasks, bench_for):
    gpt, quadratic = tasks["gpt"], tasks["quadratic"]
    bench = bench_for(gpt)

    def told(make, other):
        return make(bench).identity != make(other).identity

    others = {
        "seed": bench_for(gpt, seed=1),
        "shards": bench_for(gpt, num_shards=4),
        "batch size": bench_for(gpt, batch_size=4),
        "dtype": bench_for(gpt, dtype="float64"),
        "model": bench_for(quadratic),
        "fingerprint": bench_for(gpt, fingerprint="there"),
        "optimizer": bench_for(gpt, optimizer=AdamW()),
    }
    told_by = {
        operation: {name for name, other in others.items() if told(make, other)}
        for operation, make in {
            "initial": Initial,
            "gradient": Gradient,
            "part": EvaluatePart,
            "step": lambda bench: Step(bench, OPTIMIZERS["sgd"]),
        }.items()
    }

    assert told_by == {
        "initial": {"seed", "dtype", "model", "fingerprint"},
        "gradient": {"seed", "shards", "batch size", "dtype", "model", "fingerprint"},
        "part": {"shards", "dtype", "model", "fingerprint"},
        "step": {"dtype", "fingerprint"},
    }


def test_operations_have_identities_of_their_own(tasks, bench_for):
    bench = bench_for(tasks["gpt"])
    operations = [
        Initial(bench),
        Gradient(bench),
        EvaluatePart(bench),
        Evaluation(bench),
        FreshState(),
        Item(0),
        Item(1),
        Mix((1.0,)),
        Mix((1.0, 1.0)),
        Cut(),
        Paste(),
        *(Step(bench, optimizer) for optimizer in OPTIMIZERS.values()),
    ]

    assert len({operation.identity for operation in operations}) == len(operations)


def test_operations_can_be_sent_to_another_process(task, bench_for):
    bench = bench_for(task)
    x = Initial(bench)()

    for operation, inputs in [(Gradient(bench), (x, 0, 0)), (EvaluatePart(bench), (x, 0))]:
        sent = pickle.loads(pickle.dumps(operation))  # noqa: S301 - it was ours a moment ago
        assert sent.identity == operation.identity
        assert same(sent(*inputs), operation(*inputs))


def test_initial_parameters_depend_on_the_seed_alone(tasks, bench_for):
    first, same_seed, other = (
        Initial(bench_for(tasks["gpt"], seed=seed, num_shards=shards))()
        for seed, shards in [(0, 3), (0, 9), (1, 3)]
    )

    assert torch.equal(first, same_seed)
    assert not torch.equal(first, other)
    assert np.isfinite(first.numpy()).all()
