"""Models against their formulas, and what a step of them costs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from simbench.learning.dataset import Dataset
from simbench.learning.datasets.classification import Classification
from simbench.learning.datasets.gaussian import Gaussian
from simbench.learning.datasets.text import Text
from simbench.learning.fit import misfit_of
from simbench.learning.model import Model
from simbench.learning.models.gpt import GPT
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.quadratic import Quadratic
from simbench.learning.operations import EvaluatePart, Gradient, Initial
from simbench.learning.task import Task
from simbench.learning.vectors import flatten
from simbench.seeds import generator
from simbench.spec import discover

SMALL = GPT(layers=2, width=16, heads=2, context=12)
QUICKSTART = GPT(layers=2, width=96, heads=4, context=64)


def built(model, dtype=torch.float32):
    module = model.build().to(dtype)
    model.initialise(module, torch.Generator().manual_seed(0))
    return module


def tokens(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))


# -- gpt


@given(st.integers(0, 11), st.integers(1, 255))
def test_a_token_changes_nothing_before_it_and_something_after(at, change):
    module, text = built(SMALL), tokens(2, 12)
    changed = text.clone()
    changed[:, at] = (changed[:, at] + change) % 256

    with torch.no_grad():
        before, after = module(text), module(changed)

    assert torch.equal(before[:, :at], after[:, :at])
    assert not torch.equal(before[:, at], after[:, at])
    assert not torch.equal(before[:, -1], after[:, -1])


def test_the_network_is_the_formula_of_gpt_2():
    module, text = built(SMALL, torch.float64), tokens(3, 12)
    weights = dict(module.named_parameters())

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = weights["token.weight"][text] + weights["position.weight"]
    for block in ("blocks.0", "blocks.1"):
        q, k, v = linear(norm(x, f"{block}.attention_norm"), f"{block}.query_key_value").split(
            16, -1
        )
        heads = []
        for head in (slice(0, 8), slice(8, 16)):
            scores = q[..., head] @ k[..., head].transpose(1, 2) / math.sqrt(8)
            future = torch.ones(12, 12).triu(1).bool()
            heads.append(scores.masked_fill(future, -math.inf).softmax(-1) @ v[..., head])
        x = x + linear(torch.cat(heads, -1), f"{block}.attention_out")
        hidden = linear(norm(x, f"{block}.feed_forward_norm"), f"{block}.feed_forward_in")
        gelu = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = x + linear(gelu, f"{block}.feed_forward_out")
    logits = norm(x, "final_norm") @ weights["token.weight"].T

    torch.testing.assert_close(module(text), logits, rtol=1e-10, atol=1e-12)


def test_the_loss_is_the_mean_surprise_at_the_next_byte():
    module, text = built(SMALL, torch.float64), tokens(3, 13)

    with torch.no_grad():
        loss = SMALL.loss(module, (text[:, :-1], text[:, 1:]))
        chances = module(text[:, :-1]).softmax(-1)

    surprise = -chances.gather(2, text[:, 1:, None]).log()
    assert float(loss) == pytest.approx(float(surprise.mean()))


def test_at_first_every_byte_is_about_as_likely(bench_for):
    bench = bench_for(Task(model=QUICKSTART, data=Text(validation_samples=16)))

    loss, _, _ = EvaluatePart(bench)(Initial(bench)(), 0)

    assert loss == pytest.approx(math.log(256), abs=0.1)


def test_first_parameters_are_those_of_gpt_2():
    for name, parameter in built(GPT(width=64)).named_parameters():
        values = parameter.detach()
        if name.endswith("norm.weight"):
            assert (values == 1).all()
        elif name.endswith("bias"):
            assert (values == 0).all()
        else:
            std = 0.02 / math.sqrt(2 * 2) if name.endswith("out.weight") else 0.02
            assert float(values.std()) == pytest.approx(std, rel=0.05)
            assert abs(float(values.mean())) < 0.001


def test_embeddings_are_tied():
    c, t, v, layers = 96, 64, 256, 2

    num_parameters = sum(parameter.numel() for parameter in QUICKSTART.build().parameters())

    block = 4 * c + (3 * c * c + 3 * c) + (c * c + c) + (4 * c * c + 4 * c) + (4 * c * c + c)
    assert num_parameters == v * c + t * c + layers * block + 2 * c
    assert Task(model=QUICKSTART).vector_bytes == 4 * num_parameters


# -- what a step costs


@pytest.mark.parametrize("model", [QUICKSTART, GPT(layers=4, width=128, heads=8, context=32)])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_step_of_gpt_costs_about_six_flops_per_weight_and_token(model, batch_size):
    task = Task(model=model, batch_size=batch_size)

    matrices = model.layers * 12 * model.width**2 + 256 * model.width
    expected = 6 * matrices * batch_size * model.context

    assert task.step_flops == pytest.approx(expected, rel=0.25)
    assert task.step_flops > expected


@pytest.mark.parametrize(
    "task",
    [
        Task(model=SMALL, batch_size=3),
        Task(model=SMALL, batch_size=3, dtype="float64"),
        Task(model=Logistic(features=7), data=Classification(), batch_size=5),
    ],
    ids=["gpt", "gpt float64", "logistic"],
)
def test_flops_counted_without_tensors_are_those_of_real_ones(task, bench_for):
    bench = bench_for(task)
    draw = generator(0, "any", 0, 0)
    batch = bench.place(task.batch(draw, 0, (1,)))
    module = task.model.build().to(task.torch_dtype)

    # The counter knows no fused attention of the CPU and would leave it out.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task.model.loss(module, batch).backward()

    assert task.step_flops == counter.get_total_flops()


def test_nobody_counts_the_flops_of_a_quadratic():
    assert Task(model=Quadratic(), data=Gaussian()).step_flops == 0


# -- logistic


def test_the_gradient_of_logistic_regression_is_its_closed_form(tasks, bench_for):
    task = tasks["logistic"]
    bench = bench_for(task, dtype="float64")
    parameters = torch.linspace(-1, 1, 6, dtype=torch.float64)

    gradient = Gradient(bench)(parameters, 1, 4)

    draw = generator(0, "batch", 1, 4)
    points, labels = task.batch(draw, 1, (1, 1, 1))
    w, b = parameters[:5], parameters[5]
    error = 1 / (1 + torch.exp(-(points @ w + b))) - labels
    expected = torch.cat([points.T @ error / len(labels), error.mean()[None]])
    torch.testing.assert_close(
        gradient, expected + task.model.l2 * parameters, rtol=1e-12, atol=1e-12
    )


def test_logistic_regression_starts_where_every_class_is_as_likely(tasks, bench_for):
    bench = bench_for(tasks["logistic"])

    assert Initial(bench)().tolist() == [0] * 6
    assert EvaluatePart(bench)(Initial(bench)(), 0)[0] == pytest.approx(math.log(2))


# -- quadratic


@given(
    st.lists(st.floats(-5, 5), min_size=4, max_size=4),
    st.tuples(st.integers(0, 2), st.integers(0, 9)),
    st.floats(1, 100),
)
def test_the_gradient_of_a_quadratic_is_its_closed_form(bench_for, tasks, point, batch, condition):
    (rank, step), noise = batch, 0.5
    model = Quadratic(
        dimension=4, curvature=(1.0, 3.0), optimum=(0.0, 2.0), condition=condition, noise=noise
    )
    bench = bench_for(tasks["quadratic"], model=model, dtype="float64", batch_size=5)

    gradient = Gradient(bench)(torch.tensor(point, dtype=torch.float64), rank, step)

    z = generator(0, "batch", rank, step).standard_normal((5, 4)).mean(0)
    a = (1.0, 3.0)[rank % 2] * condition ** (np.arange(4) / 3)
    expected = a * (np.array(point) - (0.0, 2.0)[rank % 2]) + noise * z
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_the_held_out_loss_of_quadratics_is_the_mean_of_all_nodes_without_noise(tasks, bench_for):
    bench = bench_for(tasks["quadratic"], num_shards=3, dtype="float64")
    x = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)

    loss, size, _ = EvaluatePart(bench)(x, 0)

    bowls = [1 * (0 + 1 + 4 + 9) / 2, 3 * (4 + 1 + 0 + 1) / 2, 1 * (0 + 1 + 4 + 9) / 2]
    assert loss == pytest.approx(sum(bowls) / 3)
    assert size == 3


def test_a_quadratic_starts_where_it_is_told(bench_for):
    task = Task(model=Quadratic(dimension=3, start=7.0), data=Gaussian())

    assert Initial(bench_for(task))().tolist() == [7, 7, 7]


# -- all of them


@pytest.mark.parametrize("kind", discover("simbench.learning.models", Model))
def test_every_model_draws_its_first_values_from_the_generator_alone(kind):
    model = discover("simbench.learning.models", Model)[kind]()

    torch.manual_seed(1)
    first = flatten(built(model))
    torch.manual_seed(2)

    assert torch.equal(flatten(built(model)), first)


@pytest.mark.parametrize("kind", discover("simbench.learning.models", Model))
def test_every_model_reads_some_dataset_and_refuses_the_others(kind):
    model = discover("simbench.learning.models", Model)[kind]()
    fitting = 0
    for found in discover("simbench.learning.datasets", Dataset).values():
        data = found()
        if misfit_of(model, data) is None:
            fitting += 1
            assert Task(model=model, data=data).num_parameters > 0
        else:
            with pytest.raises(ValueError, match=f"model {kind} (takes|reads|knows)"):
                Task(model=model, data=data)
    assert fitting >= 1
