"""A hidden layer's layer norm, tanh and dropout: torch's operations, or on a GPU one kernel forward and one backward.

Legend: L lanes, B rows of a batch, H features.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from avtune.lanes.dropout import Dropout, Mask
from avtune.lanes.layer_norm import layer_norm, normalise_backward
from avtune.lanes.measured import disagreement, kernel_or_none, largest_difference
from avtune.lanes.noise import stream_start

WIDEST = 1 << 14
"""Features that a row of the kernels may have."""
_EPS = 1e-5
_AGREE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Largest relative difference of the kernels, by dtype: torch's operations round in between, the kernels do not."""


def hidden_layer(x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, dropout: Dropout | None) -> Tensor:
    """dropout(tanh(layer norm of x)) in the dtype of x, with each lane's own gain, bias and dropout."""
    if dropout is None:
        return torch.tanh(layer_norm(x_LBH, gain_LH, bias_LH, _EPS))
    if x_LBH.dtype in _AGREE and gain_LH.dtype == torch.float32 and x_LBH.shape[-1] <= WIDEST:
        kernels = _kernels(x_LBH.device, x_LBH.dtype)
        if kernels is not None:
            return fused(kernels, x_LBH, gain_LH, bias_LH, dropout.draw())
    return dropout(torch.tanh(layer_norm(x_LBH, gain_LH, bias_LH, _EPS)))


def fused(kernels: ModuleType, x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, mask: Mask) -> Tensor:
    """As `hidden_layer`, by the kernels of `hidden_triton`."""
    made: Tensor = _Fused.apply(x_LBH, gain_LH, bias_LH, mask, kernels)[0]  # type: ignore[no-untyped-call]
    return made


class _Fused(torch.autograd.Function):
    """The layer, and for the backward pass the normalised rows and their inverse deviations.

    These are results too so that the backward pass can be differentiated again, as in `layer_norm`; it is then made of
    torch's operations.
    """

    @staticmethod
    def forward(
        ctx: Any, x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, mask: Mask, kernels: ModuleType
    ) -> tuple[Tensor, Tensor, Tensor]:
        gain, bias, keys = gain_LH.contiguous(), bias_LH.contiguous(), mask.keys_L.contiguous()
        made, normal, rstd = kernels.forward(
            x_LBH.contiguous(), gain, bias, keys, mask.dropped_L, mask.scale_L, stream_start(mask.stream), _EPS
        )
        ctx.save_for_backward(normal, rstd, gain_LH, bias_LH)
        ctx.set_materialize_grads(False)
        ctx.mask, ctx.kernels = mask, kernels
        return made, normal, rstd

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        normal, rstd, gain, bias = ctx.saved_tensors
        grad, grad_normal, grad_rstd = grads
        if grad is None or torch.is_grad_enabled() or grad_normal is not None or grad_rstd is not None:
            return *_by_operations(ctx.mask, normal, rstd, gain, bias, grad, grad_normal, grad_rstd), None, None
        mask = ctx.mask
        given = (mask.keys_L.contiguous(), mask.dropped_L, mask.scale_L, stream_start(mask.stream))
        return (
            *ctx.kernels.backward(grad.contiguous(), normal, rstd, gain.contiguous(), bias.contiguous(), *given),
            None,
            None,
        )


def _by_operations(
    mask: Mask,
    normal_LBH: Tensor,
    rstd_LB1: Tensor,
    gain_LH: Tensor,
    bias_LH: Tensor,
    grad_LBH: Tensor | None,
    grad_normal_LBH: Tensor | None,
    grad_rstd_LB1: Tensor | None,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x, gain and bias, in operations that can be differentiated again."""
    grad_gain = grad_bias = None
    if grad_LBH is not None:
        normal = normal_LBH.to(gain_LH.dtype)
        tanh = torch.tanh(torch.addcmul(bias_LH[:, None], normal, gain_LH[:, None]))
        grad = grad_LBH.to(gain_LH.dtype) * mask.factor(normal.shape, gain_LH.dtype) * (1 - tanh.square())
        grad_gain, grad_bias = (grad * normal).sum(1), grad.sum(1)
        of_normal = (grad * gain_LH[:, None]).to(normal_LBH.dtype)
        grad_normal_LBH = of_normal if grad_normal_LBH is None else grad_normal_LBH + of_normal
    return normalise_backward(normal_LBH, rstd_LB1, grad_normal_LBH, grad_rstd_LB1), grad_gain, grad_bias


@functools.cache
def _kernels(device: torch.device, dtype: torch.dtype) -> ModuleType | None:
    """The kernels, where there is a GPU."""
    if device.type != "cuda":
        return None
    return kernel_or_none(f"hidden layers, {dtype}", _load, functools.partial(_why_not, device, dtype))


def _load() -> ModuleType:
    from avtune.lanes import hidden_triton

    return hidden_triton


def _why_not(device: torch.device, dtype: torch.dtype, kernels: ModuleType) -> str:
    """Why the kernels are not to be used; empty if they are."""
    return disagreement(*_both_ways(device, dtype, kernels), _AGREE[dtype])


def difference(device: torch.device, dtype: torch.dtype) -> float:
    """The largest relative difference of the kernels' results and gradients from those of torch's operations."""
    return largest_difference(*_both_ways(device, dtype, _load()))


@torch.enable_grad()
def _both_ways(device: torch.device, dtype: torch.dtype, kernels: ModuleType) -> tuple[list[Tensor], list[Tensor]]:
    """Result and gradients of a layer: by the kernels, and by torch's operations."""
    lanes, rows, width = 8, 128, 768
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    x, above = (normal(lanes, rows, width).to(dtype) for _ in range(2))
    gain, bias = normal(lanes, width), normal(lanes, width)
    keys = torch.randint(-(2**31), 2**31, (lanes,), generator=generator, device=device, dtype=torch.int32)
    dropout = torch.linspace(0, 0.6, lanes, device=device)

    def by(layer: Callable[..., Tensor]) -> list[Tensor]:
        leaves = [value.detach().requires_grad_() for value in (x, gain, bias)]
        made = layer(*leaves, Dropout(keys, dropout))
        return [made, *torch.autograd.grad(made, leaves, above)]

    def kernel(x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, dropout: Dropout) -> Tensor:
        return fused(kernels, x_LBH, gain_LH, bias_LH, dropout.draw())

    def operations(x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, dropout: Dropout) -> Tensor:
        return dropout(torch.tanh(layer_norm(x_LBH, gain_LH, bias_LH, _EPS)))

    return by(kernel), by(operations)
