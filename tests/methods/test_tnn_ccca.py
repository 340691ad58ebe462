"""`tnn_ccca` against a triple loop and a network written out."""

import pytest
import torch
from test_method_conformance import Setting


def slow_network(params, lane, view, row):
    x = row
    for layer in ("0", "1", "2", "out"):
        x = torch.tanh(x @ params[f"{view}.{layer}.weight"][lane] + params[f"{view}.{layer}.bias"][lane])
    return 1 / (1 + torch.exp(-x))


@pytest.mark.parametrize("distance", ["squared", "cosine"])
def test_loss_is_the_mean_over_all_audio_visual_visual_triplets(distance):
    setting = Setting("tnn_ccca", {"distance": distance})
    setting.hyper["dropout"] *= 0
    losses = setting.loss()
    for lane in range(3):
        labels = setting.batch.labels[lane].tolist()
        margin = setting.hyper["margin"][lane].item()
        z_a, z_v = (
            [slow_network(setting.params, lane, view, row) for row in getattr(setting.batch, view)[lane]]
            for view in ("audio", "visual")
        )

        def apart(a, v):
            if distance == "squared":
                return (a - v).square().sum().item()
            return 1 - (a @ v / a.norm() / v.norm()).item()

        terms = [
            max(0, apart(z_a[i], z_v[p]) - apart(z_a[i], z_v[n]) + margin)
            for i in range(12)
            for p in range(12)
            for n in range(12)
            if labels[p] == labels[i] != labels[n] and p != i
        ]
        assert losses["loss"][lane].item() == pytest.approx(sum(terms) / len(terms))


def test_dropout_follows_every_layer():
    setting = Setting("tnn_ccca", {})
    z = []
    for p in (0.0, 0.5):
        setting.hyper["dropout"] = torch.full((3,), p).double()
        z.append(setting.loss()["loss"])
    assert not torch.isclose(*z).any()


def test_embeddings_are_canonical_coordinates_of_what_the_network_gave():
    setting = Setting("tnn_ccca", {"embedding_dim": 3, "ridge": 1e-6, "pair_weight": 1.0})
    batch, hyper = setting.batch, setting.hyper
    setting.hyper = hyper = {**hyper, "ridge": torch.full((3,), 1e-9).double(), "pair_weight": torch.ones(3).double()}
    setting.method.loss(setting.params, setting.buffers, batch, hyper, setting.progress)
    z_a, z_v = setting.method.embed(setting.params, setting.buffers, batch.audio, batch.visual)
    for lane in range(3):
        both = torch.cov(torch.cat([z_a[lane], z_v[lane]], 1).T)
        torch.testing.assert_close(both[:3, :3], torch.eye(3).double(), atol=1e-3, rtol=0)
        torch.testing.assert_close(both[3:, 3:], torch.eye(3).double(), atol=1e-3, rtol=0)
        cross = both[:3, 3:]
        torch.testing.assert_close(cross, torch.diag(cross.diagonal()), atol=1e-3, rtol=0)
        assert cross.diagonal().tolist() == sorted(cross.diagonal().tolist(), reverse=True)
