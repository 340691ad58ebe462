"""Second derivatives through every autograd function of the package, as a gradient penalty takes them: right, never
silently wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import avtune
from avtune.lanes.modules import Dropout, encoder, init_encoder, layer_norm, linear, matrix_precision
from avtune.lanes.noise import step_keys
from avtune.lanes.triplets import weighted_triplets
from avtune.methods.acmr import reverse_gradient

L, B, H = 2, 5, 4
CHECKED = {"_Drop", "_Fused", "_LinearBF16", "_Normalise", "_Scale", "_Reverse", "_WeightedTriplets"}


def draw(*shape: int, seed: int = 0, grad: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_(grad)


def test_every_function_of_the_package_is_checked_here() -> None:
    found = {
        line.split()[1].partition("(")[0]
        for path in Path(avtune.__file__).parent.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("class ") and "autograd.Function" in line
    }
    assert found == CHECKED


def test_layer_norm_can_be_differentiated_twice() -> None:
    leaves = (draw(L, B, H), draw(L, H, seed=1), draw(L, H, seed=2))
    assert gradcheck(layer_norm, leaves)
    assert gradgradcheck(layer_norm, leaves)


def test_layer_norm_of_rows_with_little_spread_can_be_differentiated_twice() -> None:
    """Where eps is as large as the variance of a row."""
    x = (3e-3 * draw(L, B, H, grad=False)).requires_grad_()
    leaves = (x, draw(L, H, seed=1), draw(L, H, seed=2))
    assert gradcheck(layer_norm, leaves, eps=1e-8)
    assert gradgradcheck(layer_norm, leaves, eps=1e-8, atol=1e-3, rtol=1e-3)


def test_dropout_can_be_differentiated_twice() -> None:
    keys = torch.tensor(step_keys(np.arange(L), np.zeros(L, np.int64)))

    def dropped(x: Tensor) -> Tensor:
        return Dropout(keys, torch.tensor([0.25, 0.5], dtype=torch.float64))(x)

    assert gradcheck(dropped, draw(L, B, H))
    assert gradgradcheck(dropped, draw(L, B, H))


def test_weighted_triplets_can_be_differentiated_twice() -> None:
    """Piecewise linear in the distances: what is left of a second derivative is theirs."""
    same = torch.tensor([[0, 0, 1, 1, 0], [1, 0, 1, 0, 0]])
    pos = (same[:, :, None] == same[:, None]).double()

    def of_embeddings(a: Tensor, v: Tensor) -> Tensor:
        dist = 1 - torch.bmm(a, v.transpose(1, 2)).tanh()
        return weighted_triplets(dist, pos, 1 - pos, torch.tensor([0.3, 0.4], dtype=torch.float64))

    leaves = (draw(L, B, 3), draw(L, B, 3, seed=1))
    assert gradcheck(of_embeddings, leaves)
    assert gradgradcheck(of_embeddings, leaves)


def test_a_reversed_gradient_can_be_differentiated_again() -> None:
    """By finite differences it cannot be checked: it is the gradient of nothing."""
    x, factor = draw(L, B, H), torch.tensor([0.5, 2.0], dtype=torch.float64)
    (grad,) = torch.autograd.grad(reverse_gradient(x, factor).pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), x)
    # Once more through the reversal, from the cube's derivative: -f * (-f) * 6 x.
    torch.testing.assert_close(second, factor[:, None, None].square() * 6 * x)


def penalised(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Gradients of the squared gradients of two linear layers with a nonlinearity between them."""
    first = torch.tanh(linear(x, weight, bias)).to(x.dtype)
    value = linear(first, weight.transpose(1, 2), None).square().sum()
    inner = torch.autograd.grad(value, (x, weight, bias), create_graph=True)
    penalty = sum((each.float().square().sum() for each in inner), torch.zeros(()))
    return torch.autograd.grad(penalty, (x, weight, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_linear_in_bf16_has_the_second_derivatives_of_fp32_up_to_rounding(dtype: torch.dtype) -> None:
    x = draw(L, 32, 16, grad=False).to(dtype)
    leaves = [draw(L, 16, 16, seed=1, grad=False).float() / 4, draw(L, 16, seed=2, grad=False).float()]
    found = {}
    for precision, of_x in (("fp32", x.float()), ("bf16", x)):
        with matrix_precision(precision):
            found[precision] = penalised(*(leaf.clone().requires_grad_() for leaf in (of_x, *leaves)))
    for exact, rounded in zip(found["fp32"], found["bf16"], strict=True):
        assert (rounded - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gradient_penalty_on_the_encoder_is_that_of_torchs_own_layers(precision: str) -> None:
    """All of a network: its input's gradient, squared, differentiated in every weight."""
    made = init_encoder(torch.Generator().manual_seed(0), 6, 16, 8)
    params = {f"a.{name}": value[None].double() for name, value in made[0].items()}
    buffers = {f"a.{name}": value[None].double() for name, value in made[1].items()}
    x = draw(1, 12, 6, grad=False)
    if precision == "bf16":
        params, buffers = ({name: t.float() for name, t in one.items()} for one in (params, buffers))
        x = x.float()
    leaves = {name: value.requires_grad_() for name, value in params.items()}

    def theirs(x: Tensor) -> Tensor:
        for layer in (0, 1):
            x = torch.nn.functional.linear(x, leaves[f"a.{layer}.weight"][0].T, leaves[f"a.{layer}.bias"][0])
            x = torch.nn.functional.layer_norm(
                x, x.shape[-1:], leaves[f"a.{layer}.norm.gain"][0], leaves[f"a.{layer}.norm.bias"][0]
            ).tanh()
        return torch.nn.functional.linear(x, leaves["a.out.weight"][0].T, leaves["a.out.bias"][0])

    def penalty(embedded: Tensor, of: Tensor) -> list[Tensor]:
        (inner,) = torch.autograd.grad(embedded.square().sum(), of, create_graph=True)
        return list(torch.autograd.grad(inner.square().sum(), list(leaves.values()), materialize_grads=True))

    first = "a.0.weight"
    with matrix_precision(precision):
        ours = penalty(encoder(leaves, buffers, "a.", x, None), leaves[first])
    scaled = x[0] / (1 + 1e-5) ** 0.5
    wanted = penalty(theirs(scaled), leaves[first])
    for found, right in zip(ours, wanted, strict=True):
        if precision == "fp32":
            torch.testing.assert_close(found, right)
        else:
            assert (found - right).norm() <= 0.1 * right.norm() + 1e-3
