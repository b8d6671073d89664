"""A module as one flat vector."""

import torch
from torch import nn

from simbench.learning.vectors import attach_gradient, flatten, load


def module():
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))


def test_what_is_loaded_is_flattened_again():
    vector = torch.arange(12.0)
    into = module()

    load(into, vector)

    assert torch.equal(flatten(into), vector)
    assert torch.equal(into[0].weight, vector[:6].view(2, 3))


def test_loading_copies_nothing_and_flattening_copies_everything():
    vector, into = torch.arange(12.0), module()
    load(into, vector)

    flat = flatten(into)

    assert into[0].weight.data_ptr() == vector.data_ptr()
    assert flat.data_ptr() != vector.data_ptr()
    assert not flat.requires_grad


def test_backward_writes_into_the_flat_gradient():
    into = module().double()
    gradient = attach_gradient(into)

    (flatten_with_graph(into) * torch.arange(12.0)).sum().backward()

    assert gradient.dtype == torch.float64
    assert torch.equal(gradient, torch.arange(12.0, dtype=torch.float64))


def test_a_fresh_gradient_does_not_touch_the_one_before():
    into = module()
    first = attach_gradient(into)
    flatten_with_graph(into).sum().backward()

    second = attach_gradient(into)
    (2 * flatten_with_graph(into)).sum().backward()

    assert torch.equal(first, torch.ones(12))
    assert torch.equal(second, 2 * torch.ones(12))


def flatten_with_graph(into):
    return torch.cat([parameter.flatten() for parameter in into.parameters()])
