"""Recurrent and dense models against their formulas."""

import math

import pytest
import torch

from simbench.learning.datasets.classification import Classification
from simbench.learning.models.logistic import Logistic
from simbench.learning.models.lstm import LSTM
from simbench.learning.models.mlp import MLP
from simbench.learning.operations import EvaluatePart, Initial
from simbench.learning.task import Task


def built(model):
    module = model.build().double()
    model.initialise(module, torch.Generator().manual_seed(0))
    return module


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# -- lstm


def test_an_lstm_is_its_formula():
    model = LSTM(embedding=5, units=6, context=4, vocabulary=9, classes=3)
    module = built(model)
    text = torch.tensor([[1, 2, 3, 8], [0, 0, 5, 1]])
    weights = dict(module.lstm.named_parameters())

    h = c = torch.zeros(2, 6, dtype=torch.float64)
    for token in text.T:
        x = module.token.weight[token]
        gates = x @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        gates = gates + h @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        i, f, g, o = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)

    torch.testing.assert_close(module(text), module.classifier(h), rtol=1e-10, atol=1e-12)
    assert (weights["bias_ih_l0"][6:12] == 1).all()
    assert weights["bias_ih_l0"][:6].abs().max() <= 6**-0.5


# -- mlp and logistic regression


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_a_perceptron_is_its_formula(activation):
    model = MLP(features=4, hidden=(7, 6), classes=3, activation=activation)
    module, x = built(model), normal(5, 4)
    act = {"relu": torch.relu, "gelu": torch.nn.functional.gelu, "tanh": torch.tanh}[activation]
    w1, b1, w2, b2, w3, b3 = module.parameters()

    expected = act(act(x @ w1.T + b1) @ w2.T + b2) @ w3.T + b3

    torch.testing.assert_close(module(x), expected)
    assert float(w1.detach().std()) == pytest.approx(math.sqrt(2 / 4), rel=0.3)


def test_without_hidden_layers_it_is_logistic_regression():
    x, labels = normal(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    models = MLP(features=4, hidden=(), classes=3), Logistic(features=4, classes=3, l2=0.0)
    module = built(models[0])

    losses = [model.loss(module, (x, labels)) for model in models]

    assert torch.equal(*losses)


def test_the_gradient_of_multinomial_logistic_regression_is_its_closed_form():
    model = Logistic(features=4, classes=3, l2=0.2)
    module, x, labels = built(model), normal(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    with torch.no_grad():
        module.weight.copy_(normal(3, 4))

    model.loss(module, (x, labels)).backward()

    error = module(x).softmax(1) - torch.eye(3, dtype=torch.float64)[labels]
    expected = error.T @ x / 6 + 0.2 * module.weight
    torch.testing.assert_close(module.weight.grad, expected.detach(), rtol=1e-12, atol=1e-12)


def test_accuracy_is_the_share_of_labels_that_are_the_likeliest(bench_for):
    task = Task(model=Logistic(features=5), data=Classification(validation_samples=300))
    bench = bench_for(task, dtype="float64")
    parameters = torch.tensor([1.0, -2.0, 0.5, 0.0, 1.0, 0.1], dtype=torch.float64)

    _, size, accuracy = EvaluatePart(bench)(parameters, 0)

    ((points, labels),) = task.data.validation(1, 5)
    right = ((points @ parameters[:5] + parameters[5] > 0) == labels.bool()).double().mean()
    assert (size, accuracy) == (300, pytest.approx(float(right)))
    assert EvaluatePart(bench)(Initial(bench)(), 0)[2] == pytest.approx(
        float((labels == 0).double().mean())
    )
