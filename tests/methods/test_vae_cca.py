"""`vae_cca` against loops over clips and dimensions, and its noise."""

import math

import numpy as np
import pytest
import torch
from test_method_conformance import Setting

from avtune.lanes.noise import step_keys
from avtune.methods._gaussian import gaussian


def layer(params, lane, name, x):
    return x @ params[f"{name}.weight"][lane] + params[f"{name}.bias"][lane]


def slow_losses(setting, lane, centers):
    """Every term by loops; the noise of the samples is drawn as the method draws it."""
    params, batch = setting.params, setting.batch
    labels = batch.labels[lane].tolist()
    rows, width = range(12), 5
    samples, vae = [], 0.0
    for view, stream in (("audio", 0), ("visual", 1)):
        noise = gaussian(batch.dropout_keys, (12, width), stream, torch.float64)[lane]
        x = getattr(batch, view)[lane]
        error, drawn = 0.0, []
        for i in rows:
            shared = layer(params, lane, "shared", torch.relu(layer(params, lane, f"{view}.in", x[i])))
            mean, log_variance = layer(params, lane, "mean", shared), layer(params, lane, "log_variance", shared)
            for d in range(width):
                m, s = mean[d].item(), log_variance[d].item()
                vae += (math.exp(s) + m * m - 1 - s) / 2
            drawn.append(mean + noise[i] * torch.exp(log_variance / 2))
            decoded = layer(params, lane, f"{view}.out", layer(params, lane, "decoder", drawn[i]))
            error += sum((decoded[k] - x[i, k]).item() ** 2 for k in range(len(x[i])))
        vae += error / x.numel()
        samples.append(drawn)
    e_a, e_v = samples
    label = sum(
        math.dist(layer(params, lane, "head", e[i]).tolist(), [float(c == labels[i]) for c in range(3)])
        for e in samples
        for i in rows
    )

    def half_cosine(x, y):
        x, y = x - x.mean(), y - y.mean()
        return (x @ y / x.norm() / y.norm()).item() / 2

    correlation = 0.0
    for left, right in ((e_a, e_a), (e_a, e_v), (e_v, e_v)):
        for i in rows:
            for j in rows:
                theta = half_cosine(left[i], right[j])
                correlation += math.log(1 + math.exp(theta)) - (labels[i] == labels[j]) * theta
    center = sum(
        (e[i] - chosen[labels[i]]).square().sum().item() / labels.count(labels[i])
        for e, chosen in zip(samples, centers, strict=True)
        for i in rows
    )
    return {
        "l_vae": vae,
        "l_lab": label / 12,
        "l_corr": correlation / 144,
        "l_dis": sum(math.dist(e_a[i].tolist(), e_v[i].tolist()) for i in rows) / 12,
        "l_center": center / 12 * 0.5 * 0.25,
    }


@pytest.mark.parametrize("kind", ["drawn", "learned"])
def test_every_term_is_its_formula(kind):
    setting = Setting("vae_cca", {"centers": kind})
    losses = setting.loss()
    for lane in range(3):
        if kind == "learned":
            centers = [setting.params["centers"][lane]] * 2
        else:
            centers = gaussian(setting.batch.dropout_keys, (2, 3, 5), 2, torch.float64)[lane]
        wanted = slow_losses(setting, lane, centers)
        for name, value in wanted.items():
            assert losses[name][lane].item() == pytest.approx(value), name
        weights = {f"l_{name}": setting.hyper[f"w_{name}"][lane].item() for name in ("vae", "corr", "dis", "center")}
        total = wanted["l_lab"] + sum(weight * wanted[name] for name, weight in weights.items())
        assert losses["loss"][lane].item() == pytest.approx(total)


def test_retrieval_uses_the_means():
    setting = Setting("vae_cca", {})
    z_a, _ = setting.method.embed(setting.params, setting.buffers, setting.batch.audio, setting.batch.visual)
    for lane in range(3):
        hidden = torch.relu(layer(setting.params, lane, "audio.in", setting.batch.audio[lane]))
        wanted = layer(setting.params, lane, "mean", layer(setting.params, lane, "shared", hidden))
        torch.testing.assert_close(z_a[lane], wanted)


def test_noise_is_standard_normal():
    keys = torch.tensor(step_keys(np.arange(4), np.zeros(4, np.int64)))
    draws = gaussian(keys, (50_000,), 0, torch.float64)
    assert draws.mean(1).abs().max() < 0.02
    assert (draws.std(1) - 1).abs().max() < 0.02
    assert abs(draws.pow(4).mean().item() - 3) < 0.1
    for bound, share in ((1, 0.6827), (2, 0.9545)):
        assert (draws.abs() < bound).double().mean().item() == pytest.approx(share, abs=0.005)
    assert torch.corrcoef(draws).fill_diagonal_(0).abs().max() < 0.02


def test_noise_depends_on_key_and_stream_only():
    keys = torch.tensor(step_keys(np.arange(3), np.arange(3)))
    whole = gaussian(keys, (7, 5), 0, torch.float32)
    assert whole.shape == (3, 7, 5)
    torch.testing.assert_close(gaussian(keys[1:2], (7, 5), 0, torch.float32), whole[1:2], rtol=0, atol=0)
    torch.testing.assert_close(gaussian(keys, (7, 5), 0, torch.float64).float(), whole)
    assert not torch.isclose(gaussian(keys, (7, 5), 1, torch.float32), whole).any()
