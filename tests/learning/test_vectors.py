"""A module as one flat vector."""

import torch
from torch import nn

from simbench.learning.vectors import flatten, gradient_of, load


def module():
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))


def test_what_is_loaded_is_flattened_again():
    vector = torch.arange(12.0)
    into = module()

    load(list(into.parameters()), vector)

    assert torch.equal(flatten(into), vector)
    assert torch.equal(into[0].weight, vector[:6].view(2, 3))


def test_loading_copies_nothing_and_flattening_copies_everything():
    vector, into = torch.arange(12.0), module()
    load(list(into.parameters()), vector)

    flat = flatten(into)

    assert into[0].weight.data_ptr() == vector.data_ptr()
    assert flat.data_ptr() != vector.data_ptr()
    assert not flat.requires_grad


def test_the_gradient_is_flat_in_the_order_of_the_parameters():
    into = module().double()
    loss = (flatten_with_graph(into) * torch.arange(12.0)).sum()

    gradient = gradient_of(loss, list(into.parameters()))

    assert gradient.dtype == torch.float64
    assert torch.equal(gradient, torch.arange(12.0, dtype=torch.float64))


def test_a_parameter_without_a_part_in_the_loss_has_a_gradient_of_zero():
    into = module()

    gradient = gradient_of(into[0].weight.sum(), list(into.parameters()))

    assert torch.equal(gradient, torch.tensor([1.0] * 6 + [0.0] * 6))


def test_flattening_one_parameter_copies_it_too():
    single = nn.Linear(3, 1, bias=False)
    assert flatten(single).data_ptr() != single.weight.data_ptr()


def flatten_with_graph(into):
    return torch.cat([parameter.flatten() for parameter in into.parameters()])
