"""The loss of `eics` against loops over rows."""

import numpy as np
import pytest
import torch
from slow_losses import cos, pairs, slow_encoder, slow_labelled, slow_likelihood, unit
from test_method_conformance import Setting


def test_loss_is_the_sum_of_its_terms_by_loops():
    setting = Setting("eics", {})
    setting.hyper["dropout"] *= 0
    setting.hyper["w_diff"] += torch.tensor([0.0, 0.7, 2.0])
    losses = setting.loss()
    count = setting.batch.labels.shape[1]
    for lane in range(3):
        labels = setting.batch.labels[lane].tolist()
        h = {name: value[lane].item() for name, value in setting.hyper.items()}
        e_a, e_v = ([row[:5] for row in slow_encoder(setting, view, lane)] for view in ("audio", "visual"))
        s_a, s_v = ([row[5:] for row in slow_encoder(setting, view, lane)] for view in ("audio", "visual"))
        same = [[float(i == j) for j in labels] for i in labels]
        l_exp = pairs(e_a, e_v) + h["alpha"] * slow_likelihood(e_a, e_v, np.eye(count))
        l_imp = slow_labelled(s_a, s_v, labels, 3, setting.params["head.weight"][lane].numpy())
        l_imp += h["beta"] * (slow_likelihood(s_a, s_a, same) + slow_likelihood(s_v, s_v, same))
        l_diff = sum(
            cos(e[i], e[j]) * cos(s[i], s[j])
            for e, s in ((e_a, s_a), (e_v, s_v))
            for i in range(count)
            for j in range(count)
        )
        l_diff /= count**2
        assert losses["l_exp"][lane].item() == pytest.approx(l_exp, abs=1e-10)
        assert losses["l_imp"][lane].item() == pytest.approx(l_imp, abs=1e-10)
        assert losses["l_diff"][lane].item() == pytest.approx(l_diff, abs=1e-10)
        wanted = l_imp + h["w_exp"] * l_exp + h["w_diff"] * l_diff
        assert losses["loss"][lane].item() == pytest.approx(wanted, abs=1e-10)


def test_both_subspaces_count_the_same_in_retrieval():
    setting = Setting("eics", {})
    # Running statistics equal to the batch's make evaluation mode the training mode.
    for view in ("audio", "visual"):
        x = getattr(setting.batch, view)
        setting.buffers[f"{view}.norm.mean"] = x.mean(1)
        setting.buffers[f"{view}.norm.var"] = x.var(1, correction=0)
    z_a, _ = setting.method.embed(setting.params, setting.buffers, setting.batch.audio, setting.batch.visual)
    for lane in range(3):
        slow = [np.concatenate([unit(row[:5]), unit(row[5:])]) for row in slow_encoder(setting, "audio", lane)]
        np.testing.assert_allclose(z_a[lane].numpy(), slow, rtol=0, atol=1e-10)
