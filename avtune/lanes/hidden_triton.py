# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""Layer norm, tanh and dropout of a hidden layer in one pass forward and one backward: Triton kernels for GPUs.

Torch's operations pass over the activations some 14 times forward and 8 times backward. The random bytes of the dropout
are computed where they are needed and not kept: they are those of `noise.random_bytes`. See `hidden.py`.

Legend: L lanes, B rows of a batch, H features, G groups of rows.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 8
"""Rows of a program of the backward pass, whose gradients of gain and bias it adds up."""


@triton.jit
def _factor(keys, dropped, scales, lane, row, at, width, start):
    """What dropout multiplies by."""
    place = row * width + at
    key = tl.load(keys + lane)
    word = (start + place // 4) * -1640531527 + key
    word = (word ^ ((word >> 16) & 0xFFFF)) * -2048144789
    word = ((word ^ ((word >> 13) & 0x7FFFF)) + key) * -1028477387
    word = word ^ ((word >> 16) & 0xFFFF)
    byte = (word >> (8 * (place % 4))) & 0xFF
    return tl.where(byte.to(tl.float32) >= tl.load(dropped + lane), tl.load(scales + lane), 0.0)


@triton.jit
def _tanh(x):
    return 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)


@triton.jit
def _forward(
    x, gains, biases, keys, dropped, scales, made, normals, rstds, rows, width, start, eps, WIDTH: tl.constexpr
):
    row, lane = tl.program_id(0), tl.program_id(1)
    at = tl.arange(0, WIDTH)
    inside = at < width
    first = (lane.to(tl.int64) * rows + row) * width
    value = tl.load(x + first + at, mask=inside, other=0.0).to(tl.float32)
    centred = tl.where(inside, value - tl.sum(value, axis=0) / width, 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / width + eps)
    # Rounded as it is kept, so that the backward pass sees what the forward pass saw.
    normal = (centred * rstd).to(normals.dtype.element_ty)
    tl.store(normals + first + at, normal, mask=inside)
    tl.store(rstds + lane.to(tl.int64) * rows + row, rstd)
    gain = tl.load(gains + lane.to(tl.int64) * width + at, mask=inside, other=0.0)
    bias = tl.load(biases + lane.to(tl.int64) * width + at, mask=inside, other=0.0)
    tanh = _tanh(normal.to(tl.float32) * gain + bias)
    factor = _factor(keys, dropped, scales, lane, row, at, width, start)
    tl.store(made + first + at, (tanh * factor).to(made.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    grads,
    normals,
    rstds,
    gains,
    biases,
    keys,
    dropped,
    scales,
    grads_x,
    grads_gain,
    grads_bias,
    rows,
    width,
    start,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    group, lane = tl.program_id(0), tl.program_id(1)
    at = tl.arange(0, WIDTH)
    inside = at < width
    gain = tl.load(gains + lane.to(tl.int64) * width + at, mask=inside, other=0.0)
    bias = tl.load(biases + lane.to(tl.int64) * width + at, mask=inside, other=0.0)
    sum_gain = tl.zeros([WIDTH], tl.float32)
    sum_bias = tl.zeros([WIDTH], tl.float32)
    for row in range(group * ROWS, min((group + 1) * ROWS, rows)):
        first = (lane.to(tl.int64) * rows + row) * width
        normal = tl.load(normals + first + at, mask=inside, other=0.0).to(tl.float32)
        grad = tl.load(grads + first + at, mask=inside, other=0.0).to(tl.float32)
        tanh = _tanh(normal * gain + bias)
        grad = grad * _factor(keys, dropped, scales, lane, row, at, width, start) * (1.0 - tanh * tanh)
        sum_bias += grad
        sum_gain += grad * normal
        grad = grad * gain
        along = tl.sum(grad * normal, axis=0) / width
        grad = (grad - tl.sum(grad, axis=0) / width - normal * along) * tl.load(rstds + lane.to(tl.int64) * rows + row)
        tl.store(grads_x + first + at, grad.to(grads_x.dtype.element_ty), mask=inside)
    place = (lane.to(tl.int64) * tl.num_programs(0) + group) * width
    tl.store(grads_gain + place + at, sum_gain, mask=inside)
    tl.store(grads_bias + place + at, sum_bias, mask=inside)


def forward(
    x_LBH: Tensor,
    gain_LH: Tensor,
    bias_LH: Tensor,
    keys_L: Tensor,
    dropped_L: Tensor,
    scale_L: Tensor,
    start: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(The layer's result and the normalised rows in the dtype of x; the inverse deviation of each row [L, B, 1].)

    Args:
        x_LBH: contiguous.
        gain_LH, bias_LH: contiguous, float32.
        keys_L, dropped_L, scale_L: see `modules.Dropout`; float32 but the keys.
        start: first count of the layer's stream, see `noise.stream_start`.
        eps: added to the variance.
    """
    lanes, rows, width = x_LBH.shape
    made, normal = torch.empty_like(x_LBH), torch.empty_like(x_LBH)
    rstd = torch.empty(lanes, rows, 1, device=x_LBH.device)
    arguments = (x_LBH, gain_LH, bias_LH, keys_L, dropped_L, scale_L, made, normal, rstd, rows, width, start, eps)
    _forward[(rows, lanes)](*arguments, WIDTH=triton.next_power_of_2(width))
    return made, normal, rstd


def backward(
    grad_LBH: Tensor,
    normal_LBH: Tensor,
    rstd_LB1: Tensor,
    gain_LH: Tensor,
    bias_LH: Tensor,
    keys_L: Tensor,
    dropped_L: Tensor,
    scale_L: Tensor,
    start: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, gain and bias; arguments as of `forward`, and its results."""
    lanes, rows, width = normal_LBH.shape
    groups = triton.cdiv(rows, ROWS)
    grad_x = torch.empty_like(normal_LBH)
    grad_gain, grad_bias = (torch.empty(lanes, groups, width, device=gain_LH.device) for _ in range(2))
    given = (grad_LBH, normal_LBH, rstd_LB1, gain_LH, bias_LH, keys_L, dropped_L, scale_L)
    _backward[(groups, lanes)](
        *given, grad_x, grad_gain, grad_bias, rows, width, start, ROWS=ROWS, WIDTH=triton.next_power_of_2(width)
    )
    return grad_x, grad_gain.sum(1), grad_bias.sum(1)
