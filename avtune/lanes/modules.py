"""Layers as functions of stacked weights: every tensor has the lane axis first, and no lane sees another.

Legend: L lanes, B rows of a batch, I inputs, O outputs, H features of a hidden layer, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Value
from avtune.core.relevance import is_multi_label
from avtune.lanes.dropout import Dropout as Dropout
from avtune.lanes.hidden import hidden_layer
from avtune.lanes.layer_norm import layer_norm as layer_norm

Tensors = dict[str, Tensor]


def init_linear(generator: torch.Generator, num_in: int, num_out: int, *, bias: bool = True) -> Tensors:
    """Weights of one lane, uniform in +-1/sqrt(num_in) as `torch.nn.Linear` draws them: `weight` [I, O], `bias` [O]."""
    bound = 1 / math.sqrt(num_in)
    made = {"weight": torch.empty(num_in, num_out).uniform_(-bound, bound, generator=generator)}
    if bias:
        made["bias"] = torch.empty(num_out).uniform_(-bound, bound, generator=generator)
    return made


def init_linears(generator: torch.Generator, sizes: Mapping[str, tuple[int, int]]) -> Tensors:
    """`init_linear` of several layers in turn, by name with their inputs and outputs: `NAME.weight` and `NAME.bias`."""
    return {
        f"{layer}.{name}": value
        for layer, (num_in, num_out) in sizes.items()
        for name, value in init_linear(generator, num_in, num_out).items()
    }


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
    and bias have their dtype. Inputs are kept for the backward pass, so it can be differentiated again; on a GPU the
    rounded weights too."""

    @staticmethod
    def forward(ctx: Any, x_LBI: Tensor, weight_LIO: Tensor, bias_LO: Tensor | None) -> Tensor:
        rounded = weight_LIO.bfloat16()
        # On a CPU the float32 weights are rounded again in the backward pass: the rounded ones would take another 50 %.
        ctx.save_for_backward(x_LBI, weight_LIO, rounded if x_LBI.is_cuda else None)
        product = torch.bmm(x_LBI, rounded)
        if bias_LO is not None:
            product += bias_LO[:, None].bfloat16()
        return product

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x_LBI, weight_LIO, rounded = ctx.saved_tensors
        grad_LBO = grads[0]
        grad_x = None
        if ctx.needs_input_grad[0]:
            if rounded is None or torch.is_grad_enabled():
                rounded = weight_LIO.bfloat16()
            grad_x = torch.bmm(grad_LBO, rounded.transpose(1, 2))
        grad_bias = grad_LBO.sum(1, dtype=weight_LIO.dtype) if ctx.needs_input_grad[2] else None
        return grad_x, _product(x_LBI.transpose(1, 2), grad_LBO, weight_LIO.dtype), grad_bias


def _product(a_LIB: Tensor, b_LBO: Tensor, dtype: torch.dtype) -> Tensor:
    """The product of bfloat16 matrices in another dtype; on a GPU its sums are not rounded to bfloat16 first."""
    if a_LIB.is_cuda and dtype == torch.float32 and not torch.is_grad_enabled():
        return torch.bmm(a_LIB, b_LBO, out_dtype=dtype)
    return torch.bmm(a_LIB, b_LBO).to(dtype)


def linear(x_LBI: Tensor, weight_LIO: Tensor, bias_LO: Tensor | None) -> Tensor:
    """`x @ weight + bias` for each lane: [L, B, O], in the dtype of x; see `matrix_precision`."""
    if _precision == "bf16":
        product: Tensor = _LinearBF16.apply(x_LBI.bfloat16(), weight_LIO, bias_LO)  # type: ignore[no-untyped-call]
        return product.to(x_LBI.dtype)
    if bias_LO is None:
        return torch.bmm(x_LBI, weight_LIO)
    return torch.baddbmm(bias_LO[:, None], x_LBI, weight_LIO)


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


@dataclass(frozen=True)
class Style:
    """How an encoder is built.

    Attributes:
        depth: hidden layers, at least 1.
        activation: of these, a key of `ACTIVATIONS`.
        normalisation: before the activation: `layer`, `batch` or `none`.
    """

    depth: int = 2
    activation: str = "tanh"
    normalisation: str = "layer"

    @classmethod
    def of(cls, static: Mapping[str, Value]) -> Style:
        """That of static hyper-parameters; what they do not name is the default."""
        return cls(**{name: static[name] for name in ("depth", "activation", "normalisation") if name in static})  # type: ignore[arg-type]


_DEFAULT = Style()
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": F.gelu,
    "silu": F.silu,
}


def init_encoder(
    generator: torch.Generator, num_in: int, num_hidden: int, num_out: int, style: Style = _DEFAULT
) -> tuple[Tensors, Tensors]:
    """Weights and buffers of one lane's encoder, see `encoder`."""
    weights: Tensors = {}
    buffers = {"norm.mean": torch.zeros(num_in), "norm.var": torch.ones(num_in)}
    width = num_in
    for layer in range(style.depth):
        made = init_linear(generator, width, num_hidden)
        weights |= {f"{layer}.{name}": value for name, value in made.items()}
        if style.normalisation != "none":
            weights |= {f"{layer}.norm.gain": torch.ones(num_hidden), f"{layer}.norm.bias": torch.zeros(num_hidden)}
        if style.normalisation == "batch":
            buffers |= {f"{layer}.norm.mean": torch.zeros(num_hidden), f"{layer}.norm.var": torch.ones(num_hidden)}
        width = num_hidden
    weights |= {f"out.{name}": value for name, value in init_linear(generator, width, num_out).items()}
    return weights, buffers


def encoder(
    params: Tensors,
    buffers: Tensors,
    prefix: str,
    x_LBI: Tensor,
    dropout: Dropout | None,
    style: Style = _DEFAULT,
) -> Tensor:
    """BatchNorm, blocks of Linear, LayerNorm, Tanh, Dropout (two, by default), then Linear: [L, B, I] to [L, B, D].

    Args:
        params, buffers: stacked tensors, the encoder's own under `prefix` (e.g. `audio.`).
        dropout: the step's dropout in training; None in evaluation, where a batch norm uses its running statistics.
        style: number and kind of the blocks, with which the weights were made.
    """
    p = {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
    b = {name.removeprefix(prefix): value for name, value in buffers.items() if name.startswith(prefix)}
    x = batch_norm(x_LBI, b["norm.mean"], b["norm.var"], training=dropout is not None)
    if _precision == "bf16":
        x = x.bfloat16()
    for layer in range(style.depth):
        x = linear(x, p[f"{layer}.weight"], p[f"{layer}.bias"])
        if style.normalisation == "layer" and style.activation == "tanh":
            x = hidden_layer(x, p[f"{layer}.norm.gain"], p[f"{layer}.norm.bias"], dropout)
        else:
            x = ACTIVATIONS[style.activation](
                _normalised(x, p, b, f"{layer}.norm.", style, training=dropout is not None)
            )
            x = x if dropout is None else dropout(x)
    return linear(x, p["out.weight"], p["out.bias"]).to(x_LBI.dtype)


def _normalised(x_LBH: Tensor, p: Tensors, b: Tensors, prefix: str, style: Style, *, training: bool) -> Tensor:
    """The rows of a hidden layer before its activation, in the dtype of x."""
    if style.normalisation == "none":
        return x_LBH
    gain, bias = p[f"{prefix}gain"], p[f"{prefix}bias"]
    if style.normalisation == "layer":
        return layer_norm(x_LBH, gain, bias)
    x = x_LBH.to(gain.dtype)
    if training:
        mean, rows = x.mean(1), x.shape[1]
        centred = x - mean[:, None]
        var = centred.square().mean(1)
        with torch.no_grad():
            b[f"{prefix}mean"].lerp_(mean, 0.1)
            b[f"{prefix}var"].lerp_(var * (rows / max(rows - 1, 1)), 0.1)
    else:
        centred, var = x - b[f"{prefix}mean"][:, None], b[f"{prefix}var"]
    return (centred * (torch.rsqrt(var + 1e-5) * gain)[:, None] + bias[:, None]).to(x_LBH.dtype)


def cosine(a_LBD: Tensor, b_LBD: Tensor) -> Tensor:
    """Cosine similarity of every row of a with every row of b, lane by lane: [L, B, B]."""
    return torch.bmm(F.normalize(a_LBD, dim=-1), F.normalize(b_LBD, dim=-1).transpose(1, 2))


def one_hot(labels_LB: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """1 at each label, else 0: [L, B, C]. Unlike torch's, it never reads the labels back to check them. Several labels
    a clip, bool [L, B, C], are that already but for the dtype."""
    if is_multi_label(labels_LB):
        return labels_LB.to(dtype)
    classes_C = torch.arange(num_classes, device=labels_LB.device)
    return (labels_LB[..., None] == classes_C).to(dtype)


def label_shares(labels_LB: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """`one_hot`, where a clip of several labels has an equal share of each: [L, B, C], rows that sum to 1."""
    hot_LBC = one_hot(labels_LB, num_classes, dtype)
    return hot_LBC / hot_LBC.sum(-1, keepdim=True) if is_multi_label(labels_LB) else hot_LBC


def of_labels(values_LBC: Tensor, labels_LB: Tensor) -> Tensor:
    """Each row's value at its label; the mean of those at its labels, where clips have several: [L, B]."""
    if is_multi_label(labels_LB):
        return (values_LBC * label_shares(labels_LB, values_LBC.shape[-1], values_LBC.dtype)).sum(-1)
    return values_LBC.gather(-1, labels_LB[..., None])[..., 0]
