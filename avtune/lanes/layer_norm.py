"""Layer normalisation with each lane's own gain and bias, which keeps little for the backward pass.

Legend: L lanes, B rows of a batch, H features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
            return normalise_backward(normal, rstd_LB1, grad, grad_rstd), None
        # The normalised rows are passed as the input, with mean 0 and deviation 1; the factor of the true deviation
        # follows below.
        still, one = torch.zeros_like(rstd_LB1), torch.ones_like(rstd_LB1)
        grad_x, _, _ = torch.ops.aten.native_layer_norm_backward(
            grad, normal, normal.shape[-1:], still, one, None, None, [True, False, False]
        )
        return grad_x.mul_(rstd_LB1), None


def normalise_backward(
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
