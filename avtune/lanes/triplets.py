"""Triplet losses over a batch without a B x B x B tensor.

Legend: L lanes, B batch, R anchors, a row each. `dist[l, i, j]` is the distance of anchor i to item j in lane l; a
triplet (i, p, n) costs relu(dist[i, p] - dist[i, n] + margin), whose gradient at exactly zero is 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avtune.lanes.measured import disagreement, kernel_or_none
from avtune.metrics.row_sort import sort_rows, sorted_width

CPU_CHUNK = 1 << 17
"""Distances worked on at a time by each thread of a CPU: they and what they need stay in its cache."""
GPU_CHUNK = 1 << 24
"""Distances worked on at a time by a GPU: about 1.5 GB of working memory."""
DIRECT_BATCH = 512
"""Up to this batch size a GPU compares all pairs instead of sorting, see `triplets_triton`."""
PACKED_BATCH = 512
"""Up to this batch size float32 distances are ordered by 32-bit keys, which leave 22 bits for the distance."""

_AGREE = 1e-5  # largest relative difference of the Triton kernel: sums in another order make about 1e-7


def weighted_triplets(dist_LBB: Tensor, pos_LBB: Tensor, neg_LBB: Tensor, margin_L: Tensor) -> Tensor:
    """sum_p sum_n pos[i, p] * neg[i, n] * relu(dist[i, p] - dist[i, n] + margin) for every anchor i: [L, B].

    B^2 log B: one sort of each row's distances together with its thresholds dist + margin, then prefix sums of the
    weights. Differentiable in `dist` only. Exact in float64. In float32 on a CPU with B up to 512, a triplet within one
    part in 2^21 of the row's range (largest - smallest distance + margin) of zero may be taken for zero or not.

    Args:
        dist_LBB: distances [L, B, B], float32 or float64, finite.
        pos_LBB, neg_LBB: weights [L, B, B], at least 0; masks are weights of 0 and 1.
        margin_L: margins [L], at least 0.
    """
    assert dist_LBB.dtype in (torch.float32, torch.float64), dist_LBB.dtype
    assert dist_LBB.shape == pos_LBB.shape == neg_LBB.shape
    total: Tensor = _WeightedTriplets.apply(dist_LBB, pos_LBB, neg_LBB, margin_L)  # type: ignore[no-untyped-call]
    return total


def hard_triplets(dist_LBB: Tensor, pos_LBB: Tensor, neg_LBB: Tensor, margin_L: Tensor) -> tuple[Tensor, Tensor]:
    """relu(farthest positive - nearest negative + margin) of every anchor (Hermans et al. 2017, "batch hard").

    Args:
        dist_LBB: distances [L, B, B].
        pos_LBB, neg_LBB: bool [L, B, B].
        margin_L: margins [L].

    Returns:
        (values [L, B], 0 where an anchor has no positive or no negative; 1 or 0 [L, B]: whether it has both).
    """
    valid_LB = pos_LBB.any(-1) & neg_LBB.any(-1)
    farthest_LB = dist_LBB.masked_fill(~pos_LBB, -torch.inf).amax(-1)
    nearest_LB = dist_LBB.masked_fill(~neg_LBB, torch.inf).amin(-1)
    gap_LB = torch.where(valid_LB, farthest_LB, 0) - torch.where(valid_LB, nearest_LB, 0) + margin_L[:, None]
    return torch.relu(gap_LB) * valid_LB, valid_LB.to(dist_LBB.dtype)


def semihard_triplets(dist_LBB: Tensor, pos_LBB: Tensor, neg_LBB: Tensor, margin_L: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over the positives of every anchor of relu(positive - chosen negative + margin).

    The chosen negative is the nearest one that is farther than the positive, or the farthest one when none is (Schroff
    et al. 2015, "FaceNet", as commonly implemented). Arguments as `hard_triplets`.

    Returns:
        (sums [L, B], number of positives summed [L, B]: 0 for an anchor without negatives).
    """
    with torch.no_grad():
        chosen_LBB = _semihard_negatives(dist_LBB, neg_LBB)
        valid_LBB = pos_LBB & neg_LBB.any(-1, keepdim=True)
    gap_LBB = dist_LBB - dist_LBB.gather(-1, chosen_LBB) + margin_L[:, None, None]
    return (torch.relu(gap_LBB) * valid_LBB).sum(-1), valid_LBB.sum(-1).to(dist_LBB.dtype)


class _WeightedTriplets(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dist: Tensor, pos: Tensor, neg: Tensor, margin: Tensor) -> Tensor:
        num_lanes, batch, _ = dist.shape
        rows = num_lanes * batch
        dist_RB, pos_RB, neg_RB = (x.reshape(rows, batch).to(dist.dtype) for x in (dist, pos, neg))
        margin_R1 = margin.to(dist.dtype).repeat_interleave(batch)[:, None]
        value_R, grad_RB = dist.new_empty(rows), dist.new_empty(rows, batch)
        if dist.dtype == torch.float32 and batch <= DIRECT_BATCH and (kernel := _kernel(dist.device)):
            kernel(*(x.contiguous() for x in (dist_RB, pos_RB, neg_RB, margin_R1)), value_R, grad_RB)
            ctx.save_for_backward(grad_RB.view(num_lanes, batch, batch))
            return value_R.view(num_lanes, batch)
        chunk = CPU_CHUNK * torch.get_num_threads() if dist.device.type == "cpu" else GPU_CHUNK
        step = max(1, chunk // batch)
        for start in range(0, rows, step):
            part = slice(start, start + step)
            _weighted_rows(dist_RB[part], pos_RB[part], neg_RB[part], margin_R1[part], value_R[part], grad_RB[part])
        ctx.save_for_backward(grad_RB.view(num_lanes, batch, batch))
        return value_R.view(num_lanes, batch)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        # The gradient is piecewise constant in the distances: its own derivative is 0, so that a second derivative is
        # right without more.
        (grad_LBB,) = ctx.saved_tensors
        return grad_LBB * grad_outputs[0][..., None], None, None, None


def _weighted_rows(
    dist_RB: Tensor, pos_RB: Tensor, neg_RB: Tensor, margin_R1: Tensor, value_R: Tensor, grad_RB: Tensor
) -> None:
    """Fills in the values [R] of the anchors of one chunk and their gradient in the distances [R, B].

    Each row becomes its B thresholds t_p = d_p + margin, with weights pos, and its B distances d_n, with weights neg,
    in ascending order. The triplet (p, n) is active when d_n comes before t_p. So with Q(p) = sum of neg before t_p and
    P(n) = sum of pos after d_n, the gradient is pos_p Q(p) in d_p and -neg_n P(n) in d_n. The loss is linear between
    its kinks: its value is gradient . distances + margin * sum_p pos_p Q(p), so no sums of distances are needed.
    """
    batch = dist_RB.shape[1]
    order = _merged_order(dist_RB, margin_R1)
    none = torch.zeros_like(dist_RB)
    pos = torch.cat([pos_RB, none], -1).gather(-1, order)
    neg = torch.cat([none, neg_RB], -1).gather(-1, order)
    before = neg.cumsum(-1)
    after = pos.cumsum(-1)
    after -= after[:, -1:].clone()  # this is -P
    slopes = pos.mul_(before).addcmul_(neg, after)
    both = neg.scatter_(-1, order, slopes)
    torch.add(both[:, :batch], both[:, batch:], out=grad_RB)
    torch.add(torch.linalg.vecdot(grad_RB, dist_RB), margin_R1[:, 0] * both[:, :batch].sum(-1), out=value_R)


@functools.cache
def _kernel(device: torch.device) -> Callable[..., None] | None:
    """The Triton kernel for rows, where there is a GPU."""
    if device.type != "cuda":
        return None
    return kernel_or_none("triplets", _load, functools.partial(_why_not, device))


def _load() -> Callable[..., None]:
    from avtune.lanes.triplets_triton import weighted_rows

    return weighted_rows


def _why_not(device: torch.device, kernel: Callable[..., None]) -> str:
    """Why the kernel is not to be used; empty if it is. Distances and margins lie on a grid, so that thresholds and
    distances are often equal and nothing depends on rounding."""
    rows, batch = 1 << 10, 250
    generator = torch.Generator(device).manual_seed(0)
    dist, pos, neg = (torch.rand(rows, batch, generator=generator, device=device) for _ in range(3))
    dist = (64 * dist).round() / 64
    margin = torch.randint(0, 32, (rows, 1), generator=generator, device=device) / 64

    def by(way: Callable[..., None]) -> list[Tensor]:
        value, grad = dist.new_empty(rows), torch.empty_like(dist)
        way(dist, pos, neg, margin, value, grad)
        return [value, grad]

    return disagreement(by(kernel), by(_weighted_rows), _AGREE)


def _merged_order(dist_RB: Tensor, margin_R1: Tensor) -> Tensor:
    """int64 [R, 2B]: the order that sorts each row of [dist + margin, dist], thresholds first among equals."""
    if dist_RB.device.type != "cpu" or dist_RB.dtype == torch.float64 or dist_RB.shape[1] > PACKED_BATCH:
        return _stable_argsort(torch.cat([dist_RB + margin_R1, dist_RB], -1))
    # 32-bit keys of distance and column: sorted by value, several times faster than any argsort.
    rows, batch = dist_RB.shape
    bits = (2 * batch - 1).bit_length()
    low = dist_RB.amin(-1, keepdim=True)
    span = (dist_RB.amax(-1, keepdim=True) - low + margin_R1).clamp(min=1e-30)
    # A power of two, so that distances and margins on a dyadic grid stay on one and tie where they should; a little
    # less than all of the 32 - bits left, so that no rounding carries over.
    scale = torch.exp2(torch.floor(32 - bits - 0.001 - torch.log2(span)))
    steps = ((dist_RB - low) * scale).int() - (1 << 31 - bits)
    columns = torch.arange(2 * batch, dtype=torch.int32)
    keys = np.full((rows, sorted_width(2 * batch)), np.iinfo(np.int32).max, np.int32)
    view = torch.from_numpy(keys)
    torch.add((steps + (margin_R1 * scale).int()) << bits, columns[:batch], out=view[:, :batch])
    torch.add(steps << bits, columns[batch:], out=view[:, batch : 2 * batch])
    keys = _sort_on_threads(keys)[:, : 2 * batch]
    keys &= (1 << bits) - 1
    return torch.from_numpy(keys.astype(np.int64))


def _stable_argsort(values_RK: Tensor) -> Tensor:
    """int64 [R, K]: the stable ascending order of each row."""
    if values_RK.device.type != "cpu":
        return torch.sort(values_RK, dim=-1, stable=True).indices
    values = values_RK.numpy()
    if values.dtype != np.float32:
        return torch.from_numpy(np.argsort(values, axis=-1, kind="stable"))
    # 64-bit keys of the order-preserving bits and the column. Adding zero turns -0.0 into 0.0.
    bits = (values + np.float32(0)).view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= np.arange(values.shape[1])
    keys = _sort_on_threads(keys)
    keys &= 0xFFFFFFFF
    return torch.from_numpy(keys)


def _semihard_negatives(dist_LBB: Tensor, neg_LBB: Tensor) -> Tensor:
    """int64 [L, B, B]: the column of the negative chosen for each column taken as a positive; 0 in rows without one."""
    num_lanes, batch, _ = dist_LBB.shape
    dist = dist_LBB.detach().reshape(num_lanes * batch, batch)
    order = _stable_argsort(dist)
    dist = dist.gather(-1, order)
    negative = neg_LBB.reshape(dist.shape).gather(-1, order)
    places = torch.arange(batch, device=dist.device).expand_as(order)
    farthest = torch.where(negative, places, 0).amax(-1, keepdim=True)
    # For each position in the order of distances, the position of the first negative from there on; `batch` if there is
    # none, also for the position past the end.
    first = torch.where(negative, places, batch).flip(-1).cummin(-1).values.flip(-1)
    first = torch.cat([first, torch.full_like(farthest, batch)], -1)
    farther = first.gather(-1, torch.searchsorted(dist, dist, right=True))
    chosen = torch.where(farther < batch, farther, farthest)
    return torch.empty_like(order).scatter_(-1, order, order.gather(-1, chosen)).view_as(neg_LBB)


def _sort_on_threads(keys_RK: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Each row in ascending order; `keys_RK` is overwritten. Uses as many threads as torch does."""
    threads = min(torch.get_num_threads(), len(keys_RK), keys_RK.size >> 14)
    if threads <= 1:
        return _sort_keys(keys_RK)
    return np.concatenate(list(_pool(threads).map(_sort_keys, np.array_split(keys_RK, threads))))


def _sort_keys(keys_RK: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if keys_RK.dtype == np.int32:
        return sort_rows(keys_RK)
    keys_RK.sort(axis=-1)
    return keys_RK


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="triplets")
