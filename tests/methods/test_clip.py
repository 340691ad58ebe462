"""`clip` against loops over the pairs."""

import math

import pytest
import torch
from test_method_conformance import Setting

from avtune.lanes.modules import Dropout, encoder


def outputs(setting):
    """Training-mode outputs of both encoders without dropout."""
    none = Dropout(setting.batch.dropout_keys, torch.zeros(3).double())
    buffers = {name: value.clone() for name, value in setting.buffers.items()}
    return [
        encoder(setting.params, buffers, f"{view}.", getattr(setting.batch, view), none) for view in ("audio", "visual")
    ]


def test_loss_is_the_cross_entropy_of_each_clips_own_pair():
    setting = Setting("clip", {})
    setting.hyper["dropout"] *= 0
    setting.params["log_scale"] += torch.tensor([[0.0], [0.5], [-1.0]])
    losses = setting.loss()
    z_a, z_v = outputs(setting)
    rows = range(z_a.shape[1])
    for lane in range(3):
        scale = math.exp(setting.params["log_scale"][lane].item()) / setting.hyper["tau"][lane].item()
        score = [
            [scale * (z_a[lane, i] @ z_v[lane, j] / z_a[lane, i].norm() / z_v[lane, j].norm()).item() for j in rows]
            for i in rows
        ]
        a2v = sum(math.log(sum(math.exp(score[i][j]) for j in rows)) - score[i][i] for i in rows) / len(rows)
        v2a = sum(math.log(sum(math.exp(score[j][i]) for j in rows)) - score[i][i] for i in rows) / len(rows)
        assert losses["l_a2v"][lane].item() == pytest.approx(a2v)
        assert losses["l_v2a"][lane].item() == pytest.approx(v2a)
        assert losses["loss"][lane].item() == pytest.approx((a2v + v2a) / 2)


def test_labels_do_not_matter():
    setting = Setting("clip", {})
    before = setting.loss()["loss"]
    setting.batch.labels.zero_()
    assert torch.equal(before, setting.loss()["loss"])


def test_the_scale_starts_at_one_over_tau_and_stays_at_or_below_100():
    setting = Setting("clip", {"tau": 0.05})
    assert (setting.params["log_scale"] == 0).all()
    setting.params["log_scale"] = torch.tensor([[0.5], [1.6], [9.0]]).double()
    setting.method.after_step(setting.params, setting.buffers, setting.hyper)
    scale = setting.params["log_scale"][:, 0].exp() / setting.hyper["tau"]
    assert scale[0].item() == pytest.approx(math.exp(0.5) / 0.05)
    assert scale[1].item() == pytest.approx(math.exp(1.6) / 0.055)
    assert scale[2].item() == pytest.approx(100)
