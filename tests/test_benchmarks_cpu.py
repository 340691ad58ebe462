"""The candidates of `benchmarks.cpu_step` compute what is shipped."""

import sys
from pathlib import Path

import pytest
import torch

from avtune.lanes.dropout import Dropout
from avtune.lanes.hidden import hidden_layer

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks._fused_hidden import fused_hidden


def test_hidden_layers_as_one_function_are_equal_up_to_rounding():
    generator = torch.Generator().manual_seed(0)
    x, above = (torch.randn(3, 16, 40, generator=generator, dtype=torch.float64) for _ in range(2))
    gain, bias = (torch.randn(3, 40, generator=generator, dtype=torch.float64) for _ in range(2))
    keys, p = torch.tensor([1, 2, 3], dtype=torch.int32), torch.tensor([0.0, 0.2, 0.5], dtype=torch.float64)

    def by(layer):
        leaves = [value.clone().requires_grad_() for value in (x, gain, bias)]
        made = layer(*leaves, Dropout(keys, p))
        return [made.detach(), *torch.autograd.grad(made, leaves, above)]

    for one, other in zip(by(fused_hidden), by(hidden_layer), strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
