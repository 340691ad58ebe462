# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""`triplets.weighted_triplets` without a sort: a Triton kernel for GPUs that compares every threshold of an anchor with
every distance. B^2 comparisons an anchor, but no memory beside arguments and results.

Legend: R anchors, B items.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _kernel(dist, pos, neg, margins, values, grad, batch, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    dist += row * batch
    pos += row * batch
    neg += row * batch
    margin = tl.load(margins + row)
    at = tl.arange(0, WIDTH)
    inside = at < batch
    d = tl.load(dist + at, mask=inside, other=0.0)
    p = tl.load(pos + at, mask=inside, other=0.0)
    n = tl.load(neg + at, mask=inside, other=0.0)
    threshold = d + margin
    below = tl.zeros([WIDTH], tl.float32)
    above = tl.zeros([WIDTH], tl.float32)
    for other in range(batch):
        other_d = tl.load(dist + other)
        below += tl.where(other_d < threshold, tl.load(neg + other), 0.0)
        above += tl.where(other_d + margin > d, tl.load(pos + other), 0.0)
    positive = p * below
    slope = positive - n * above
    tl.store(grad + row * batch + at, slope, mask=inside)
    tl.store(values + row, tl.sum(slope * d + margin * positive, axis=0))


def weighted_rows(
    dist_RB: Tensor, pos_RB: Tensor, neg_RB: Tensor, margin_R1: Tensor, value_R: Tensor, grad_RB: Tensor
) -> None:
    """As `triplets._weighted_rows`, for contiguous float32 tensors."""
    rows, batch = dist_RB.shape
    width = triton.next_power_of_2(batch)
    given = (dist_RB, pos_RB, neg_RB, margin_R1, value_R, grad_RB, batch)
    # Few warps: every warp loads the other item's values again.
    _kernel[(rows,)](*given, WIDTH=width, num_warps=max(1, width // 256))
