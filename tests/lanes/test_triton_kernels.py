"""The Triton kernels in Triton's interpreter, which runs them with NumPy; on a GPU `benchmarks/gpu.py` checks them."""

import warnings

import numpy as np
import pytest
import torch

from avtune.lanes import hidden, triplets
from avtune.lanes.dropout import Dropout
from avtune.lanes.layer_norm import layer_norm
from avtune.lanes.measured import relative_difference
from avtune.lanes.noise import step_keys


@pytest.fixture(autouse=True)
def quiet(triton_interpreter):
    with warnings.catch_warnings(), np.errstate(over="ignore"):  # the hash of the random bytes wraps around
        warnings.filterwarnings("ignore", "overflow encountered")
        yield


@pytest.mark.parametrize(("rows", "batch"), [(6, 13), (4, 64), (2, 100)])
def test_triplets_equal_those_by_sorting(rows, batch):
    """Distances and margins on a grid: thresholds and distances are often equal."""
    generator = torch.Generator().manual_seed(batch)
    dist, pos, neg = (torch.rand(rows, batch, generator=generator) for _ in range(3))
    dist, margin = (dist * 32).round() / 32, torch.randint(0, 16, (rows, 1), generator=generator) / 32
    made = []
    for way in (triplets._load(), triplets._weighted_rows):
        value, grad = dist.new_empty(rows), torch.empty_like(dist)
        way(dist, pos, neg, margin, value, grad)
        made.append((value, grad))
    for found, wanted in zip(*made, strict=True):
        assert relative_difference(found, wanted) < 1e-6


def layer(dtype, seed):
    lanes, rows, width = 3, 11, 20
    generator = torch.Generator().manual_seed(seed)
    x, above = (torch.randn(lanes, rows, width, generator=generator).to(dtype) for _ in range(2))
    gain, bias = (torch.randn(lanes, width, generator=generator) for _ in range(2))
    keys = torch.tensor(step_keys(np.arange(lanes), np.full(lanes, seed)))
    return x, gain, bias, above, keys, torch.tensor([0.0, 0.3, 0.6])


def by_kernels(x, gain, bias, dropout):
    return hidden.fused(hidden._load(), x, gain, bias, dropout.draw())


def by_operations(x, gain, bias, dropout):
    return dropout(torch.tanh(layer_norm(x, gain, bias)))


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
def test_a_hidden_layer_and_its_gradients(dtype, allowed):
    *given, above, keys, dropped = layer(dtype, 0)
    made = []
    for way in (by_kernels, by_operations):
        leaves = [value.clone().requires_grad_() for value in given]
        dropout = Dropout(keys, dropped)
        dropout.draw()  # the second stream of the step
        result = way(*leaves, dropout)
        assert result.dtype == dtype
        made.append([result, *torch.autograd.grad(result, leaves, above)])
    for found, wanted in zip(*made, strict=True):
        assert relative_difference(found, wanted) < allowed


def test_a_hidden_layer_can_be_differentiated_twice():
    *given, above, keys, dropped = layer(torch.float32, 1)
    made = []
    for way in (by_kernels, by_operations):
        leaves = [value.clone().requires_grad_() for value in given]
        first = torch.autograd.grad(way(*leaves, Dropout(keys, dropped)), leaves, above, create_graph=True)
        made.append(torch.autograd.grad(sum(grad.square().sum() for grad in first), leaves))
    for found, wanted in zip(*made, strict=True):
        assert relative_difference(found, wanted) < 1e-5
