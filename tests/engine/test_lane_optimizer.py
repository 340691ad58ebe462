import pytest
import torch

from avtune.engine import optimizer
from avtune.engine.optimizer import AdamW
from benchmarks._agreement import adamw_apart


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_equals_torch_adamw_for_every_lane(dtype, tolerance, kernel):
    assert adamw_apart(dtype=dtype, kernel=kernel) < tolerance


@pytest.mark.parametrize("kernel", [True, False])
def test_lanes_count_their_own_steps(kernel):
    params = {"w": torch.ones(2, 4)}
    moments = AdamW.init(params)
    grads = {"w": torch.full((2, 4), 0.5)}
    AdamW(kernel=kernel).step(params, grads, moments, torch.tensor([1, 100]), torch.full((2,), 0.1), torch.zeros(2))
    # At its first step a lane moves by lr; with zero moments at step 100 the corrections differ.
    assert params["w"][0, 0].item() == pytest.approx(0.9, abs=1e-6)
    assert params["w"][1, 0].item() != pytest.approx(0.9, abs=1e-3)


def test_torch_has_the_kernel():
    """Without it training on a CPU takes longer: see `benchmarks/optimizer.py` before this is changed."""
    assert optimizer._KERNEL is not None, "torch has no _fused_adamw_ any more"


def test_without_the_kernel_the_operations_are_used(monkeypatch):
    monkeypatch.setattr(optimizer, "_KERNEL", None)
    assert adamw_apart(dtype=torch.float64, kernel=None) < 1e-12
