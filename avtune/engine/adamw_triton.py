# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""AdamW in one pass over memory, for all lanes of a tensor in one launch: a Triton kernel for GPUs.

Reads weight, gradient and two moments and writes weight and moments: 28 bytes a weight, where the separate operations
of `optimizer.AdamW` move 88. Import this file only where there is a GPU: Triton comes with torch's CUDA builds.

Legend: L lanes, P weights of one lane's tensor.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
"""Weights that a program updates."""


@triton.jit
def _kernel(
    param,
    grad,
    m,
    v,
    factors,
    param_row,
    grad_row,
    m_row,
    v_row,
    size,
    weight1,
    beta2,
    weight2,
    eps,
    BLOCK: tl.constexpr,
):
    lane = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    shrink = tl.load(factors + 3 * lane)
    rate = tl.load(factors + 3 * lane + 1)
    root = tl.load(factors + 3 * lane + 2)
    g = tl.load(grad + lane * grad_row + at, mask=inside)
    first = tl.load(m + lane * m_row + at, mask=inside)
    second = tl.load(v + lane * v_row + at, mask=inside)
    value = tl.load(param + lane * param_row + at, mask=inside)
    first = first + weight1 * (g - first)
    second = beta2 * second + weight2 * g * g
    value = value * shrink + rate * (first / (tl.sqrt(second) * root + eps))
    tl.store(m + lane * m_row + at, first, mask=inside)
    tl.store(v + lane * v_row + at, second, mask=inside)
    tl.store(param + lane * param_row + at, value, mask=inside)


def update(
    param_LP: Tensor,
    grad_LP: Tensor,
    m_LP: Tensor,
    v_LP: Tensor,
    factors_L3: Tensor,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """One update in place of float32 tensors whose rows are contiguous.

    Args:
        param_LP, grad_LP, m_LP, v_LP: weights, gradients and moments.
        factors_L3: float32, contiguous: 1 - lr * decay, -lr / (1 - beta1^step), (1 - beta2^step)^-1/2 of each lane.
        betas, eps: see `optimizer.AdamW`.
    """
    lanes, size = param_LP.shape
    assert all(x.stride(1) == 1 or size == 1 for x in (param_LP, grad_LP, m_LP, v_LP)), "rows must be contiguous"
    rows = [x.stride(0) for x in (param_LP, grad_LP, m_LP, v_LP)]
    # Triton passes numbers as float32: 1 - 0.999 must be taken before.
    weights = (1 - betas[0], betas[1], 1 - betas[1])
    grid = (triton.cdiv(size, BLOCK), lanes)
    _kernel[grid](param_LP, grad_LP, m_LP, v_LP, factors_L3, *rows, size, *weights, eps, BLOCK=BLOCK)
