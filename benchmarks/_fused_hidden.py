"""A hidden layer's layer norm, tanh and dropout as one function of torch's CPU operations: only measured.

It passes over memory five times forward and four times backward, where `lanes.hidden` passes six and nine times. Its
layer norm has gain and bias inside, whose rounding is another: training does not stay equal to the last bit. Its
backward pass cannot be differentiated again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from avtune.lanes.dropout import Dropout

_EPS = 1e-5


def fused_hidden(x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, dropout: Dropout) -> Tensor:
    """As `lanes.hidden.hidden_layer`."""
    factor = dropout.draw().factor(x_LBH.shape, x_LBH.dtype)
    made: Tensor = _Fused.apply(x_LBH, gain_LH, bias_LH, factor)  # type: ignore[no-untyped-call]
    return made


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_LBH: Tensor, gain_LH: Tensor, bias_LH: Tensor, factor_LBH: Tensor) -> Tensor:
        made, tanh, moments = torch.empty_like(x_LBH), torch.empty_like(x_LBH), []
        for x, gain, bias, factor, out, inner in zip(x_LBH, gain_LH, bias_LH, factor_LBH, made, tanh, strict=True):
            normal, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], gain, bias, _EPS)
            torch.mul(torch.tanh(normal, out=inner), factor, out=out)
            moments += [mean, rstd]
        ctx.save_for_backward(x_LBH, gain_LH, bias_LH, factor_LBH, tanh, *moments)
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x_LBH, gain_LH, bias_LH, factor_LBH, tanh_LBH, *moments = ctx.saved_tensors
        found = []
        for lane, grad in enumerate(grads[0]):
            inner = torch.ops.aten.tanh_backward(grad * factor_LBH[lane], tanh_LBH[lane])
            found.append(
                torch.ops.aten.native_layer_norm_backward(
                    inner,
                    x_LBH[lane],
                    inner.shape[-1:],
                    *moments[2 * lane : 2 * lane + 2],
                    gain_LH[lane],
                    bias_LH[lane],
                    [True] * 3,
                )
            )
        of_x, of_gain, of_bias = (torch.stack(parts) for parts in zip(*found, strict=True))
        return of_x, of_gain, of_bias, None
