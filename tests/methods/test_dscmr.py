"""The loss of `dscmr` against loops over rows, written from the equations of its paper."""

import math

import numpy as np
import pytest
from slow_losses import cos, pairs, rows, slow_labelled, slow_likelihood
from test_method_conformance import Setting


def slow_views(setting, lane):
    """Both views' embeddings by numpy, one row at a time."""
    p = {name: value[lane].numpy() for name, value in setting.params.items()}
    made = []
    for view in ("audio", "visual"):
        hidden = [np.maximum(x @ p[f"{view}.weight"] + p[f"{view}.bias"], 0) for x in rows(setting.batch, view, lane)]
        made.append([h @ p["shared.weight"] + p["shared.bias"] for h in hidden])
    return made


def test_loss_is_the_sum_of_its_terms_by_loops():
    setting = Setting("dscmr", {})
    setting.hyper["dropout"] *= 0
    setting.hyper["w_corr"] *= 100
    losses = setting.loss()
    for lane in range(3):
        z_a, z_v = slow_views(setting, lane)
        labels = setting.batch.labels[lane].tolist()
        head, bias = (setting.params[f"head.{name}"][lane].numpy() for name in ("weight", "bias"))
        labelled = slow_labelled(z_a, z_v, labels, 3, head, bias)
        same = [[float(i == j) for j in labels] for i in labels]
        likelihood = sum(slow_likelihood(x, y, same) for x, y in ((z_a, z_a), (z_a, z_v), (z_v, z_v)))
        apart = pairs(z_a, z_v)
        assert losses["l_lab"][lane].item() == pytest.approx(labelled, abs=1e-10)
        assert losses["l_corr"][lane].item() == pytest.approx(likelihood, abs=1e-10)
        assert losses["l_dis"][lane].item() == pytest.approx(apart, abs=1e-10)
        w_corr, w_dis = (setting.hyper[name][lane].item() for name in ("w_corr", "w_dis"))
        assert losses["loss"][lane].item() == pytest.approx(labelled + w_corr * likelihood + w_dis * apart, abs=1e-10)


def test_embeddings_are_those_of_training_without_dropout():
    setting = Setting("dscmr", {})
    z_a, z_v = setting.method.embed(setting.params, {}, setting.batch.audio, setting.batch.visual)
    for lane in range(3):
        for made, slow in zip((z_a[lane], z_v[lane]), slow_views(setting, lane), strict=True):
            np.testing.assert_allclose(made.numpy(), slow, rtol=0, atol=1e-12)


def test_the_likelihood_of_two_rows_is_known():
    # Orthogonal rows: Th = 0, so softplus is log 2; a row with itself: Th = 1/2 with target 1.
    x = [np.array([2.0, 0.0]), np.array([0.0, 3.0])]
    assert cos(x[0], x[1]) == 0
    wanted = (2 * math.log(2) + 2 * (math.log1p(math.exp(0.5)) - 0.5)) / 4
    assert slow_likelihood(x, x, [[1.0, 0.0], [0.0, 1.0]]) == pytest.approx(wanted)
