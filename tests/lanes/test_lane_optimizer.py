import pytest
import torch

from avtune.lanes.optimizer import AdamW


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_equals_torch_adamw_for_every_lane(dtype, tolerance, kernel):
    generator = torch.Generator().manual_seed(0)
    shapes = {"w": (40, 30), "b": (30,), "big": (90, 91)}
    params = {n: torch.randn((3, *s), generator=generator, dtype=torch.float64).to(dtype) for n, s in shapes.items()}
    lr, decay = torch.tensor([1e-3, 1e-2, 0.1], dtype=dtype), torch.tensor([0.0, 0.1, 0.01], dtype=dtype)
    references = []
    for lane in range(3):
        copies = {name: value[lane].clone().requires_grad_() for name, value in params.items()}
        settings = {"lr": lr[lane].item(), "weight_decay": decay[lane].item()}
        references.append((copies, torch.optim.AdamW(copies.values(), **settings)))
    ours, moments = AdamW(kernel=kernel), AdamW.init(params)
    for step in range(1, 13):
        grads = {
            name: torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype) for name, p in params.items()
        }
        ours.step(params, grads, moments, torch.full((3,), step), lr, decay)
        for lane, (copies, reference) in enumerate(references):
            for name, copy in copies.items():
                copy.grad = grads[name][lane].clone()
            reference.step()
            for name, copy in copies.items():
                torch.testing.assert_close(params[name][lane], copy.detach(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kernel", [True, False])
def test_lanes_count_their_own_steps(kernel):
    params = {"w": torch.ones(2, 4)}
    moments = AdamW.init(params)
    grads = {"w": torch.full((2, 4), 0.5)}
    AdamW(kernel=kernel).step(params, grads, moments, torch.tensor([1, 100]), torch.full((2,), 0.1), torch.zeros(2))
    # At its first step a lane moves by lr; with zero moments at step 100 the corrections differ.
    assert params["w"][0, 0].item() == pytest.approx(0.9, abs=1e-6)
    assert params["w"][1, 0].item() != pytest.approx(0.9, abs=1e-3)
