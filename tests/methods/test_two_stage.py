"""Both stages of `two_stage` against loops over rows, and the switch between them."""

import pytest
import torch
from slow_losses import cosine_distances, slow_encoder, slow_triplets, unit
from test_method_conformance import Setting

from avtune.lanes.noise import random_bytes
from avtune.methods import Progress
from avtune.methods.two_stage import _MIXING_STREAM


def augmented(z, labels, shares):
    rows = [unit(row) for row in z]
    for i, label in enumerate(labels):
        following = [*range(i + 1, len(labels)), *range(i), i]
        other = next(j for j in following if labels[j] == label)
        rows.append((1 - shares[i]) * rows[i] + shares[i] * rows[other])
    return rows


def test_each_lane_has_the_loss_of_its_own_stage():
    setting = Setting("two_stage", {})
    setting.hyper["dropout"] *= 0
    setting.hyper["margin"] += 0.3
    setting.hyper["stage_share"] = torch.tensor([0.5, 0.5, 0.0]).double()
    setting.progress = Progress(torch.tensor([4.0, 5.0, 0.0]).double(), torch.full((3,), 9.0).double())
    losses = setting.loss()
    draws = random_bytes(setting.batch.dropout_keys, 12, _MIXING_STREAM)
    assert setting.method.schedules(setting.hyper, setting.progress)["stage"].tolist() == [1, 2, 2]
    for lane, stage in enumerate([1, 2, 2]):
        labels = setting.batch.labels[lane].tolist()
        margin, mix = setting.hyper["margin"][lane].item(), setting.hyper["mix"][lane].item()
        z_a, z_v = (slow_encoder(setting, view, lane) for view in ("audio", "visual"))
        mining = "semihard"
        if stage == 2:
            shares = [mix * byte / 255 for byte in draws[lane].tolist()]
            z_a, z_v = (augmented(z, labels, shares) for z in (z_a, z_v))
            labels, mining = labels * 2, "hard"
        total = sum(
            slow_triplets(cosine_distances(x, y), labels, margin, mining) / 2 for x, y in ((z_a, z_v), (z_v, z_a))
        )
        assert total > 0
        assert losses["l_cross"][lane].item() == pytest.approx(total, abs=1e-9)


def test_the_second_stages_gradient_agrees_with_finite_differences():
    setting = Setting("two_stage", {})
    setting.hyper["stage_share"] *= 0
    leaves = {key: value.clone().requires_grad_() for key, value in setting.params.items()}
    grads = torch.autograd.grad(setting.loss(leaves)["l_cross"].sum(), list(leaves.values()), materialize_grads=True)
    draw = torch.Generator().manual_seed(0)
    ray = {k: torch.randn(v.shape, generator=draw, dtype=v.dtype) for k, v in leaves.items()}
    up, down = (
        setting.loss({k: v + sign * 1e-6 * ray[k] for k, v in setting.params.items()})["l_cross"].sum()
        for sign in (1, -1)
    )
    slope = sum((grad * ray[k]).sum() for k, grad in zip(leaves, grads, strict=True))
    assert slope != 0
    torch.testing.assert_close(slope, (up - down) / 2e-6, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(("share", "stages"), [(0.0, [2, 2, 2, 2]), (0.5, [1, 1, 2, 2]), (1.0, [1, 1, 1, 1])])
def test_stage_two_begins_after_its_share_of_the_epochs(share, stages):
    setting = Setting("two_stage", {}, lanes=4)
    progress = Progress(torch.arange(4).double(), torch.full((4,), 4.0).double())
    made = setting.method.schedules({"stage_share": torch.full((4,), share).double()}, progress)
    assert made["stage"].tolist() == stages


def test_after_the_schedule_there_is_stage_two_but_for_a_share_of_1():
    method = Setting("two_stage", {}, lanes=4).method
    progress = Progress(torch.tensor([26.0, 27.0, 27.0, 90.0]), torch.full((4,), 27.0))
    shares = torch.tensor([0.98, 0.98, 1.0, 1.0])
    assert method.schedules({"stage_share": shares}, progress)["stage"].tolist() == [1, 2, 1, 1]
