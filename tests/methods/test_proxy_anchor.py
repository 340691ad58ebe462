"""`proxy_anchor` against loops over proxies and clips."""

import math

import pytest
import torch
from slow_losses import cos, slow_encoder
from test_method_conformance import DIMS, Setting


def slow_terms(clips, labels, proxies, alpha, delta):
    """Equation 4 of the paper: (pull, push)."""
    pull, push, with_clips = 0.0, 0.0, 0
    for c, proxy in enumerate(proxies):
        near = [math.exp(-alpha * (cos(x, proxy) - delta)) for x, y in zip(clips, labels, strict=True) if y == c]
        far = [math.exp(alpha * (cos(x, proxy) + delta)) for x, y in zip(clips, labels, strict=True) if y != c]
        with_clips += bool(near)
        pull += math.log(1 + sum(near))
        push += math.log(1 + sum(far))
    return pull / with_clips, push / len(proxies)


@pytest.mark.parametrize("absent", [False, True])
def test_loss_is_the_papers_by_loops(absent):
    setting = Setting("proxy_anchor", {"alpha": 8.0})
    setting.hyper["dropout"] *= 0
    draw = torch.Generator().manual_seed(3)
    learned = setting.params["proxies.learned"]
    learned.copy_(torch.randn(learned.shape, generator=draw, dtype=learned.dtype) / 20)
    if absent:
        setting.batch.labels[setting.batch.labels == 1] = 2
    losses = setting.loss()
    for lane in range(3):
        labels = setting.batch.labels[lane].tolist()
        h = {name: value[lane].item() for name, value in setting.hyper.items()}
        proxies = (setting.buffers["proxies.first"][lane] + h["proxy_lr"] * learned[lane]).numpy()
        clips = slow_encoder(setting, "audio", lane) + slow_encoder(setting, "visual", lane)
        pull, push = slow_terms(clips, labels * 2, proxies, h["alpha"], h["margin"])
        assert losses["l_pos"][lane].item() == pytest.approx(pull, abs=1e-9)
        assert losses["l_neg"][lane].item() == pytest.approx(push, abs=1e-9)
        assert losses["loss"][lane].item() == pytest.approx(pull + push, abs=1e-9)


def test_a_class_without_clips_leaves_finite_gradients():
    setting = Setting("proxy_anchor", {"alpha": 100.0})
    setting.batch.labels[:] = 0
    leaves = {name: value.requires_grad_() for name, value in setting.params.items()}
    grads = torch.autograd.grad(setting.loss(leaves)["loss"].sum(), list(leaves.values()))
    assert all(torch.isfinite(grad).all() for grad in grads)


def test_proxies_start_as_the_public_code_draws_them():
    first = Setting("proxy_anchor", {"embedding_dim": 4096}, lanes=1).buffers["proxies.first"]
    assert first.shape == (1, DIMS[2], 4096)
    assert first.std().item() == pytest.approx(math.sqrt(2 / DIMS[2]), rel=0.03)
