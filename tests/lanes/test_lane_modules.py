"""Every stacked layer against torch's own layer, lane by lane, in value and gradient."""

import numpy as np
import pytest
import torch
from torch import nn

from avtune.lanes.modules import (
    Dropout,
    batch_norm,
    cosine,
    encoder,
    init_encoder,
    init_linear,
    layer_norm,
    linear,
    matrix_precision,
)
from avtune.lanes.noise import step_keys

L, B, N_IN, H = 3, 7, 5, 6


@pytest.fixture(autouse=True)
def _in_float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def grads_of(value, *leaves):
    return torch.autograd.grad(value.square().sum(), leaves)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_torch_linear(bias):
    x, w, b = (
        torch.randn(L, B, N_IN),
        torch.randn(L, N_IN, H, requires_grad=True),
        torch.randn(L, H, requires_grad=True),
    )
    leaves = (w, b) if bias else (w,)
    ours = linear(x, w, b if bias else None)
    got = grads_of(ours, *leaves)
    for lane in range(L):
        layer = nn.Linear(N_IN, H, bias=bias)
        layer.weight.data = w[lane].detach().T.clone()
        if bias:
            layer.bias.data = b[lane].detach().clone()
        theirs = layer(x[lane])
        torch.testing.assert_close(ours[lane], theirs)
        wanted = grads_of(theirs, *layer.parameters())
        torch.testing.assert_close(got[0][lane], wanted[0].T)
        if bias:
            torch.testing.assert_close(got[1][lane], wanted[1])


def test_layer_norm_is_torch_layer_norm():
    x = torch.randn(L, B, H, requires_grad=True)
    gain, bias = torch.randn(L, H, requires_grad=True), torch.randn(L, H, requires_grad=True)
    ours = layer_norm(x, gain, bias)
    got = grads_of(ours, x, gain, bias)
    for lane in range(L):
        layer = nn.LayerNorm(H)
        layer.weight.data, layer.bias.data = gain[lane].detach(), bias[lane].detach()
        one = x[lane].detach().requires_grad_()
        torch.testing.assert_close(ours[lane], layer(one))
        wanted = grads_of(layer(one), one, layer.weight, layer.bias)
        torch.testing.assert_close([each[lane] for each in got], list(wanted))


def test_layer_norm_in_bfloat16_is_torch_layer_norm_up_to_rounding():
    x, gain, bias = torch.randn(L, B, H), torch.randn(L, H), torch.randn(L, H)
    exact = grads_of(layer_norm(*(leaves := [t.clone().requires_grad_() for t in (x, gain, bias)])), *leaves)
    small = x.bfloat16().requires_grad_()
    params = [t.float().requires_grad_() for t in (gain, bias)]
    ours = layer_norm(small, *params)
    assert ours.dtype is torch.bfloat16
    got = grads_of(ours.float(), small, *params)
    assert [each.dtype for each in got] == [torch.bfloat16, torch.float32, torch.float32]
    for rounded, wanted in zip(got, exact, strict=True):
        assert (rounded - wanted).norm() < 0.03 * wanted.norm()


def test_tf32_is_asked_of_products_within_the_block_only():
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    for name, within in (("tf32", "tf32"), ("fp32", "ieee"), ("bf16", "ieee")):
        with matrix_precision(name):
            assert products.fp32_precision == within
        assert products.fp32_precision == before


def test_batch_norm_is_torch_batch_norm_in_training_and_evaluation():
    mean, var = torch.zeros(L, N_IN), torch.ones(L, N_IN)
    layers = [nn.BatchNorm1d(N_IN, affine=False) for _ in range(L)]
    for training in (True, True, False):
        x = torch.randn(L, B, N_IN) * 2 + 1
        ours = batch_norm(x, mean, var, training=training)
        for lane, layer in enumerate(layers):
            layer.train(training)
            torch.testing.assert_close(ours[lane], layer(x[lane]))
            torch.testing.assert_close(mean[lane], layer.running_mean)
            torch.testing.assert_close(var[lane], layer.running_var)


def test_dropout_drops_its_share_and_keeps_the_expectation():
    p = torch.tensor([0.0, 0.25, 0.9])
    keys = torch.tensor(step_keys(np.arange(3), np.zeros(3, np.int64)))
    out = Dropout(keys, p)(torch.ones(3, 500, 400))
    for lane in range(3):
        rounded = round(p[lane].item() * 256) / 256
        assert (out[lane] == 0).double().mean().item() == pytest.approx(rounded, abs=0.004)
        assert out[lane].max().item() == pytest.approx(1 / (1 - rounded))
        assert out[lane].mean().item() == pytest.approx(1, abs=0.03)


def test_dropout_masks_differ_by_layer_and_agree_alone():
    keys = torch.tensor(step_keys(np.arange(3), np.zeros(3, np.int64)))
    p, x = torch.full((3,), 0.5), torch.ones(3, 20, 30)
    together = Dropout(keys, p)
    first, second = together(x), together(x)
    assert not torch.equal(first, second)
    alone = Dropout(keys[1:2], p[1:2])
    assert torch.equal(alone(x[:1])[0], first[1])
    assert torch.equal(alone(x[:1])[0], second[1])


def test_encoder_is_the_network_of_its_docstring():
    generator = torch.Generator().manual_seed(1)
    made = [init_encoder(generator, N_IN, H, 4) for _ in range(L)]
    params, buffers = (
        {f"audio.{name}": torch.stack([one[kind][name] for one in made]) for name in made[0][kind]} for kind in (0, 1)
    )
    x = torch.randn(L, B, N_IN)
    ours = encoder(params, buffers, "audio.", x, None)
    for lane, (p, _) in enumerate(made):
        layers = [
            nn.BatchNorm1d(N_IN, affine=False),
            nn.Linear(N_IN, H),
            nn.LayerNorm(H),
            nn.Tanh(),
            nn.Linear(H, H),
            nn.LayerNorm(H),
        ]
        net = nn.Sequential(*layers, nn.Tanh(), nn.Linear(H, 4)).eval()
        for index, name in ((1, "0"), (4, "1"), (7, "out")):
            net[index].weight.data, net[index].bias.data = p[f"{name}.weight"].T, p[f"{name}.bias"]
        torch.testing.assert_close(ours[lane], net(x[lane]))


def test_linear_layers_start_as_torchs_do():
    weights = init_linear(torch.Generator().manual_seed(0), 400, 300)["weight"]
    bound = nn.Linear(400, 300).weight.abs().max().item()
    assert weights.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert weights.std().item() == pytest.approx(nn.Linear(400, 300).weight.std().item(), rel=0.02)


def test_cosine_is_the_double_loop():
    a, b = torch.randn(L, 4, 3), torch.randn(L, 4, 3)
    ours = cosine(a, b)
    for lane in range(L):
        for i in range(4):
            for j in range(4):
                wanted = a[lane, i] @ b[lane, j] / (a[lane, i].norm() * b[lane, j].norm())
                torch.testing.assert_close(ours[lane, i, j], wanted)
