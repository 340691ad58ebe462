"""The loss of `hcmsl` against loops over pairs."""

import math

import numpy as np
import pytest
from slow_losses import rows, unit
from test_method_conformance import Setting


def slow_views(setting, lane):
    p = {name: value[lane].numpy() for name, value in setting.params.items()}
    made = []
    for view in ("audio", "visual"):
        x = np.array(rows(setting.batch, view, lane))
        for layer in (view, "shared.0"):
            x = np.maximum(x @ p[f"{layer}.weight"] + p[f"{layer}.bias"], 0)
        made.append([unit(z) for z in x @ p["shared.1.weight"] + p["shared.1.bias"]])
    return made


def slow_contrast(xs, ys, labels, margin, *, own):
    near, far = [], []
    for i, x in enumerate(xs):
        for j, y in enumerate(ys):
            if labels[i] != labels[j]:
                far.append(max(0.0, margin - math.dist(x, y)) ** 2)
            elif own or i != j:
                near.append(math.dist(x, y) ** 2)
    return sum(near) / len(near) + sum(far) / len(far)


def test_loss_is_the_sum_of_its_terms_by_loops():
    setting = Setting("hcmsl", {})
    setting.hyper["dropout"] *= 0
    losses = setting.loss()
    for lane in range(3):
        (z_a, z_v), labels = slow_views(setting, lane), setting.batch.labels[lane].tolist()
        margin, w_intra, w_pair = (setting.hyper[name][lane].item() for name in ("margin", "w_intra", "w_pair"))
        cross = slow_contrast(z_a, z_v, labels, margin, own=True)
        intra = sum(slow_contrast(z, z, labels, margin, own=False) for z in (z_a, z_v))
        pair = sum(math.dist(a, v) ** 2 for a, v in zip(z_a, z_v, strict=True)) / len(z_a)
        assert losses["l_cross"][lane].item() == pytest.approx(cross, abs=1e-9)
        assert losses["l_intra"][lane].item() == pytest.approx(intra, abs=1e-9)
        assert losses["l_pair"][lane].item() == pytest.approx(pair, abs=1e-9)
        assert losses["loss"][lane].item() == pytest.approx(cross + w_intra * intra + w_pair * pair, abs=1e-9)


def test_a_batch_of_one_class_has_a_finite_gradient():
    setting = Setting("hcmsl", {})
    setting.batch.labels[:] = 0
    leaves = {name: value.clone().requires_grad_() for name, value in setting.params.items()}
    losses = setting.loss(leaves)
    losses["loss"].sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves.values())
