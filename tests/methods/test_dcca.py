"""`dcca` and `c_dcca` against explicit pairs and scipy, and the linear step that follows their networks."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from test_clip import outputs
from test_method_conformance import Setting

from avtune.lanes.noise import init_generator
from avtune.methods import METHODS
from avtune.methods._running_cca import MEMORY_ROWS, init_running, project, remember


def slow_covariances(audio, visual, labels, pair_weight):
    """Audio, visual and mixed cross-covariance by loops over clips and over all within-class pairs."""
    a, v = audio - audio.mean(0), visual - visual.mean(0)
    clips = range(len(labels))
    aa, vv, av = (sum(np.outer(x[i], y[i]) for i in clips) / (len(labels) - 1) for x, y in ((a, a), (v, v), (a, v)))
    pairs = [(i, j) for i in clips for j in clips if labels[i] == labels[j]]
    cluster = sum(np.outer(a[i], v[j]) for i, j in pairs) / len(pairs)
    return aa, vv, pair_weight * av + (1 - pair_weight) * cluster


def slow_correlations(aa, vv, av, ridge):
    roots = [np.linalg.inv(scipy.linalg.sqrtm(cov + ridge * np.eye(len(cov)))) for cov in (aa, vv)]
    return np.linalg.svd(roots[0] @ av @ roots[1])


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize("name", ["dcca", "c_dcca"])
def test_loss_is_minus_the_sum_of_the_top_correlations(name, extra):
    setting = Setting(name, {"extra_dim": extra, "embedding_dim": 3})
    setting.hyper["dropout"] *= 0
    losses = setting.loss()
    z_a, z_v = outputs(setting)
    assert z_a.shape[2] == 3 + extra
    for lane in range(3):
        weight = setting.hyper["pair_weight"][lane].item() if name == "c_dcca" else 1.0
        labels = setting.batch.labels[lane].tolist()
        covariances = slow_covariances(z_a[lane].numpy(), z_v[lane].numpy(), labels, weight)
        values = slow_correlations(*covariances, setting.hyper["ridge"][lane].item())[1]
        assert losses["loss"][lane].item() == pytest.approx(-values[:3].sum(), rel=1e-6)
        assert losses["correlation"][lane].item() == pytest.approx(values[:3].mean(), rel=1e-6)


def test_without_labels_in_dcca_and_with_them_in_c_dcca():
    for name, same in (("dcca", True), ("c_dcca", False)):
        setting = Setting(name, {})
        before = setting.loss()["loss"]
        setting.batch.labels.copy_((setting.batch.labels + torch.arange(12)) % 3)
        assert torch.allclose(before, setting.loss()["loss"]) == same


def draws(seed, rows=30, width=4):
    draw = torch.Generator().manual_seed(seed)
    common = torch.randn(2, rows, width, generator=draw, dtype=torch.float64)
    noise = torch.randn(2, 2, rows, width, generator=draw, dtype=torch.float64)
    return common + 0.5 * noise[0] + 3, common.flip(2) + noise[1] - 1, torch.randint(3, (2, rows), generator=draw)


def empty(width=4):
    made = init_running(3, width)
    return {name: torch.stack([value, value]).double() for name, value in made.items()}


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_projection_is_the_cca_of_the_rows_remembered(weight):
    audio, visual, labels = draws(0)
    buffers = empty()
    ridge = torch.tensor([0.1, 0.4], dtype=torch.float64)
    remember(buffers, audio, visual, labels, ridge, torch.full((2,), weight, dtype=torch.float64))
    z_a, z_v = project(buffers, audio, visual, 2)
    for lane in range(2):
        a, v = audio[lane].numpy(), visual[lane].numpy()
        covariances = slow_covariances(a, v, labels[lane].tolist(), weight)
        left, _, right = slow_correlations(*covariances, ridge[lane].item())
        roots = [np.linalg.inv(scipy.linalg.sqrtm(cov + ridge[lane].item() * np.eye(4))) for cov in covariances[:2]]
        wanted_a = (a - a.mean(0)) @ roots[0] @ left[:, :2]
        wanted_v = (v - v.mean(0)) @ roots[1] @ right[:2].T
        signs = np.sign((wanted_a * z_a[lane].numpy()).sum(0))
        np.testing.assert_allclose(z_a[lane], wanted_a * signs, atol=1e-6)
        np.testing.assert_allclose(z_v[lane], wanted_v * signs, atol=1e-6)


def test_older_rows_fade():
    buffers = empty()
    ones = torch.ones(2, dtype=torch.float64)
    for seed in range(3):
        remember(buffers, *draws(seed), ones, ones)
    keep = math.exp(-30 / MEMORY_ROWS)
    wanted = sum(keep ** (2 - seed) * draws(seed)[0].sum(1) for seed in range(3))
    torch.testing.assert_close(buffers["cca.audio"].sum(1), wanted)


def test_nothing_remembered_keeps_the_first_outputs():
    audio, visual, _ = draws(0)
    z_a, z_v = project(empty(), audio, visual, 2)
    for got, outputs_ in ((z_a, audio), (z_v, visual)):
        torch.testing.assert_close(got, outputs_[..., :2] * (got[0, 0, 0] / outputs_[0, 0, 0]))


def test_fresh_networks_have_the_outputs_asked_for():
    method = METHODS["dcca"]({"embedding_dim": 3, "extra_dim": 4, "hidden_dim": 8, "batch_size": 8}, 6, 9, 3)
    params, buffers = method.init(init_generator(0))
    assert params["audio.out.weight"].shape == (8, 7)
    assert buffers["cca.av"].shape == (7, 7)
