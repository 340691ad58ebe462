"""Layers as functions of stacked weights: every tensor has the lane axis first, and no lane sees another.

Legend: L lanes, B rows of a batch, I inputs, O outputs, H features of a hidden layer, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.lanes.noise import random_bytes

Tensors = dict[str, Tensor]


def init_linear(generator: torch.Generator, num_in: int, num_out: int, *, bias: bool = True) -> Tensors:
    """Weights of one lane, uniform in +-1/sqrt(num_in) as `torch.nn.Linear` draws them: `weight` [I, O], `bias` [O]."""
    bound = 1 / math.sqrt(num_in)
    made = {"weight": torch.empty(num_in, num_out).uniform_(-bound, bound, generator=generator)}
    if bias:
        made["bias"] = torch.empty(num_out).uniform_(-bound, bound, generator=generator)
    return made


_precision = "fp32"


@contextmanager
def matrix_precision(name: str) -> Iterator[None]:
    """Within the block large matrix products are in this precision: `fp32`; `tf32`, on a GPU (inputs rounded to 11
    bits, all else fp32); or `bf16` (inputs rounded to bfloat16, sums in fp32, the result rounded to bfloat16 once).
    Under `bf16` an encoder's hidden activations are bfloat16 too; weights, their gradients, statistics, embeddings and
    losses stay as they are. Not for several threads at a time."""
    global _precision
    assert name in ("fp32", "tf32", "bf16"), name
    before, _precision = _precision, name
    products = torch.backends.cuda.matmul
    products_before = products.fp32_precision
    products.fp32_precision = "tf32" if name == "tf32" else "ieee"
    try:
        yield
    finally:
        _precision = before
        products.fp32_precision = products_before


class _LinearBF16(torch.autograd.Function):
    """x @ weight + bias of bfloat16 x, with the products of forward and backward in bfloat16; the gradients of weight
    and bias have their dtype. Only inputs are kept for the backward pass, so it can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x_LBI: Tensor, weight_LIO: Tensor, bias_LO: Tensor | None) -> Tensor:
        # The float32 weights are kept and rounded again in the backward pass: rounded copies would take another 50 %.
        ctx.save_for_backward(x_LBI, weight_LIO)
        product = torch.bmm(x_LBI, weight_LIO.bfloat16())
        if bias_LO is not None:
            product += bias_LO[:, None].bfloat16()
        return product

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x_LBI, weight_LIO = ctx.saved_tensors
        grad_LBO = grads[0]
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.bmm(grad_LBO, weight_LIO.bfloat16().transpose(1, 2))
        grad_bias = grad_LBO.sum(1, dtype=weight_LIO.dtype) if ctx.needs_input_grad[2] else None
        return grad_x, torch.bmm(x_LBI.transpose(1, 2), grad_LBO).to(weight_LIO.dtype), grad_bias


def linear(x_LBI: Tensor, weight_LIO: Tensor, bias_LO: Tensor | None) -> Tensor:
    """`x @ weight + bias` for each lane: [L, B, O], in the dtype of x; see `matrix_precision`."""
    if _precision == "bf16":
        product: Tensor = _LinearBF16.apply(x_LBI.bfloat16(), weight_LIO, bias_LO)  # type: ignore[no-untyped-call]
        return product.to(x_LBI.dtype)
    if bias_LO is None:
        return torch.bmm(x_LBI, weight_LIO)
    return torch.baddbmm(bias_LO[:, None], x_LBI, weight_LIO)


def layer_norm(x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, eps: float = 1e-5) -> Tensor:
    """Layer normalisation over the last axis with each lane's own gain and bias (Ba, Kiros, Hinton 2016)."""
    # Both steps save the same tensor for the backward pass, the normalised rows. torch's layer norm, followed by each
    # lane's gain and bias, would save its input as well.
    normal, _ = _Normalise.apply(x_LBH, eps)  # type: ignore[no-untyped-call]
    scaled: Tensor = _Scale.apply(normal, gain_LH, bias_LH)  # type: ignore[no-untyped-call]
    return scaled


class _Normalise(torch.autograd.Function):
    """Rows with mean 0 and deviation 1, and the inverse of the deviation that each had (with eps).

    The second is a result too so that both may be kept: what a backward pass takes from results can be differentiated
    again, what it takes from anything between inputs and results cannot.
    """

    @staticmethod
    def forward(ctx: Any, x_LBH: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        normal, _, rstd_LB1 = torch.native_layer_norm(x_LBH, x_LBH.shape[-1:], None, None, eps)
        ctx.save_for_backward(normal, rstd_LB1)
        ctx.set_materialize_grads(False)
        return normal, rstd_LB1

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None]:
        normal, rstd_LB1 = ctx.saved_tensors
        grad, grad_rstd = grads
        if torch.is_grad_enabled() or grad is None or grad_rstd is not None:
            return _normalise_backward(normal, rstd_LB1, grad, grad_rstd), None
        # The normalised rows are passed as the input, with mean 0 and deviation 1; the factor of the true deviation
        # follows below.
        still, one = torch.zeros_like(rstd_LB1), torch.ones_like(rstd_LB1)
        grad_x, _, _ = torch.ops.aten.native_layer_norm_backward(
            grad, normal, normal.shape[-1:], still, one, None, None, [True, False, False]
        )
        return grad_x.mul_(rstd_LB1), None


def _normalise_backward(
    normal_LBH: Tensor, rstd_LB1: Tensor, grad_LBH: Tensor | None, grad_rstd_LB1: Tensor | None
) -> Tensor | None:
    """The gradient of `_Normalise` in its input, in operations that can be differentiated again.

    With n = (x - mean) r and r = (var + eps)^-1/2 over H values: dn_j/dx_i = r ((i = j) - 1/H - n_i n_j / H) and
    dr/dx_i = -r^2 n_i / H.
    """
    wide = torch.promote_types(normal_LBH.dtype, torch.float32)
    normal, rstd = normal_LBH.to(wide), rstd_LB1.to(wide)
    total = None
    if grad_LBH is not None:
        grad = grad_LBH.to(wide)
        total = rstd * (grad - grad.mean(-1, keepdim=True) - normal * (grad * normal).mean(-1, keepdim=True))
    if grad_rstd_LB1 is not None:
        of_rstd = -grad_rstd_LB1.to(wide) * rstd.square() * normal / normal.shape[-1]
        total = of_rstd if total is None else total + of_rstd
    return None if total is None else total.to(normal_LBH.dtype)


class _Scale(torch.autograd.Function):
    """Rows times each lane's gain plus its bias, in the dtype of the rows; sums of gradients in that of the gain."""

    @staticmethod
    def forward(ctx: Any, normal_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor) -> Tensor:
        ctx.save_for_backward(normal_LBH, gain_LH)
        return torch.addcmul(bias_LH[:, None].to(normal_LBH.dtype), normal_LBH, gain_LH[:, None].to(normal_LBH.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        normal_LBH, gain_LH = ctx.saved_tensors
        grad_bias = grads[0].sum(1, dtype=gain_LH.dtype)
        grad_gain = (grads[0] * normal_LBH).sum(1, dtype=gain_LH.dtype)
        return grads[0] * gain_LH[:, None].to(normal_LBH.dtype), grad_gain, grad_bias


def batch_norm(x_LBI: Tensor, mean_LI: Tensor, var_LI: Tensor, *, training: bool) -> Tensor:
    """Batch normalisation of each lane over its own rows (Ioffe, Szegedy 2015), for the features that enter a network:
    without gain and bias, which the linear layer after it absorbs, and without a gradient to x. eps 1e-5, momentum 0.1.

    In training the batch's statistics normalise, and `mean_LI`, `var_LI` are moved towards them in place, as
    `torch.nn.BatchNorm1d` does.
    """
    assert not x_LBI.requires_grad
    if not training:
        return (x_LBI - mean_LI[:, None]) * torch.rsqrt(var_LI + 1e-5)[:, None]
    rows = x_LBI.shape[1]
    mean = x_LBI.mean(1)
    centred = x_LBI - mean[:, None]
    # Not torch.var_mean, which is ten times slower along this axis on a CPU.
    var = centred.square().mean(1)
    mean_LI.lerp_(mean, 0.1)
    var_LI.lerp_(var * (rows / max(rows - 1, 1)), 0.1)
    return centred.mul_(torch.rsqrt(var + 1e-5)[:, None])


class Dropout:
    """Dropout with a probability of each lane's own, for one training step.

    The probability is rounded to a multiple of 1/256 (a mask costs one random byte an element), and the kept values are
    scaled by the exact inverse of the rounded keep probability, so the expectation is exact. Each call in a step uses
    the next stream of the step's noise.

    Args:
        keys_L: int32 [L] from `noise.step_keys`.
        p_L: [L], probability of zeroing, 0 to 0.99.
    """

    def __init__(self, keys_L: Tensor, p_L: Tensor) -> None:
        self._keys_L = keys_L
        self._dropped_L = torch.round(p_L * 256).clamp_(0, 255)
        self._scale_L = 256 / (256 - self._dropped_L)
        self._stream = 0

    def __call__(self, x_LBH: Tensor) -> Tensor:
        lanes, rows, width = x_LBH.shape
        noise = random_bytes(self._keys_L, rows * width, self._stream).view(lanes, rows, width)
        self._stream += 1
        kept: Tensor = _Drop.apply(  # type: ignore[no-untyped-call]
            x_LBH, noise, self._dropped_L[:, None, None], self._scale_L[:, None, None]
        )
        return kept


class _Drop(torch.autograd.Function):
    """x scaled where its random byte is at least `dropped`, else 0."""

    @staticmethod
    def forward(ctx: Any, x_LBH: Tensor, noise_LBH: Tensor, dropped_L11: Tensor, scale_L11: Tensor) -> Tensor:
        # Arithmetic instead of a comparison: bytes are exact in every dtype, and on a CPU comparisons, like operations
        # on tensors of mixed dtypes, are several times slower.
        dtype = x_LBH.dtype
        factor = noise_LBH.to(dtype).sub_(dropped_L11.to(dtype) - 1).clamp_(0, 1).mul_(scale_L11.to(dtype))
        ctx.save_for_backward(factor)
        return factor * x_LBH

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (factor,) = ctx.saved_tensors
        return factor * grads[0], None, None, None


def init_encoder(generator: torch.Generator, num_in: int, num_hidden: int, num_out: int) -> tuple[Tensors, Tensors]:
    """Weights and buffers of one lane's encoder, see `encoder`."""
    weights: Tensors = {}
    width = num_in
    for layer in (0, 1):
        made = init_linear(generator, width, num_hidden)
        weights |= {f"{layer}.{name}": value for name, value in made.items()}
        weights |= {f"{layer}.norm.gain": torch.ones(num_hidden), f"{layer}.norm.bias": torch.zeros(num_hidden)}
        width = num_hidden
    weights |= {f"out.{name}": value for name, value in init_linear(generator, width, num_out).items()}
    return weights, {"norm.mean": torch.zeros(num_in), "norm.var": torch.ones(num_in)}


def encoder(params: Tensors, buffers: Tensors, prefix: str, x_LBI: Tensor, dropout: Dropout | None) -> Tensor:
    """BatchNorm, two blocks of Linear, LayerNorm, Tanh, Dropout, then Linear: [L, B, I] to [L, B, D].

    Args:
        params, buffers: stacked tensors, the encoder's own under `prefix` (e.g. `audio.`).
        dropout: the step's dropout in training; None in evaluation, where the batch norm uses its running statistics.
    """
    p = {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
    b = {name.removeprefix(prefix): value for name, value in buffers.items() if name.startswith(prefix)}
    x = batch_norm(x_LBI, b["norm.mean"], b["norm.var"], training=dropout is not None)
    if _precision == "bf16":
        x = x.bfloat16()
    for layer in (0, 1):
        x = linear(x, p[f"{layer}.weight"], p[f"{layer}.bias"])
        x = torch.tanh(layer_norm(x, p[f"{layer}.norm.gain"], p[f"{layer}.norm.bias"]))
        if dropout is not None:
            x = dropout(x)
    return linear(x, p["out.weight"], p["out.bias"]).to(x_LBI.dtype)


def cosine(a_LBD: Tensor, b_LBD: Tensor) -> Tensor:
    """Cosine similarity of every row of a with every row of b, lane by lane: [L, B, B]."""
    return torch.bmm(F.normalize(a_LBD, dim=-1), F.normalize(b_LBD, dim=-1).transpose(1, 2))


def one_hot(labels_LB: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """1 at each label, else 0: [L, B, C]. Unlike torch's, it never reads the labels back to check them."""
    classes_C = torch.arange(num_classes, device=labels_LB.device)
    return (labels_LB[..., None] == classes_C).to(dtype)
