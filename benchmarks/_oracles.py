"""Triplets written as loops and as B x B x B tensors, and embeddings with known scores: what fast kernels are compared
with, by the tests on the CPU and by `benchmarks.gpu` on a GPU.

Legend: L lanes, B batch; distances are [L, B, B], a row an anchor.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from avtune.metrics import retrieval_scores

# --- triplets


def dense_costs(dist: Tensor, margin: Tensor) -> Tensor:
    """relu(dist[i, p] - dist[i, n] + margin) as [L, i, p, n]."""
    return torch.relu(dist[:, :, :, None] - dist[:, :, None, :] + margin[:, None, None, None])


def dense_weighted(dist: Tensor, pos: Tensor, neg: Tensor, margin: Tensor) -> Tensor:
    """`triplets.weighted_triplets`."""
    return (dense_costs(dist, margin) * pos[:, :, :, None] * neg[:, :, None, :]).sum((2, 3))


def _rows(dist: Tensor) -> list[list[int]]:
    return torch.cartesian_prod(*(torch.arange(n) for n in dist.shape[:2])).tolist()


def loop_hard(dist: Tensor, pos: Tensor, neg: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
    """`triplets.hard_triplets`."""
    values, valid = dist.new_zeros(dist.shape[:2]), dist.new_zeros(dist.shape[:2])
    for lane, anchor in _rows(dist):
        row = dist[lane, anchor]
        far, near = row[pos[lane, anchor]], row[neg[lane, anchor]]
        if len(far) and len(near):
            values[lane, anchor] = torch.relu(far.max() - near.min() + margin[lane])
            valid[lane, anchor] = 1
    return values, valid


def loop_semihard(dist: Tensor, pos: Tensor, neg: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
    """`triplets.semihard_triplets`."""
    values, counts = dist.new_zeros(dist.shape[:2]), dist.new_zeros(dist.shape[:2])
    for lane, anchor in _rows(dist):
        negatives = dist[lane, anchor][neg[lane, anchor]]
        for positive in dist[lane, anchor][pos[lane, anchor]]:
            if len(negatives):
                farther = negatives[negatives > positive]
                chosen = farther.min() if len(farther) else negatives.max()
                values[lane, anchor] = values[lane, anchor] + torch.relu(positive - chosen + margin[lane])
                counts[lane, anchor] += 1
    return values, counts


def example(
    seed: int,
    lanes: int = 3,
    batch: int = 12,
    dtype: torch.dtype = torch.float64,
    grid: int = 0,
    device: str = "cpu",
) -> tuple[Tensor, Tensor, Tensor, torch.Generator]:
    """Distances in [0, 2] (on a grid of that many steps per unit, hence tied, when given), which are of one class,
    margins, and the generator that drew them, on the CPU."""
    draw = torch.Generator().manual_seed(seed)
    dist = 2 * torch.rand(lanes, batch, batch, generator=draw, dtype=torch.float64)
    margin = torch.rand(lanes, generator=draw, dtype=torch.float64)
    if grid:
        dist, margin = (torch.round(x * grid) / grid for x in (dist, margin))
    labels = torch.randint(0, 3, (lanes, batch), generator=draw)
    same = (labels[:, :, None] == labels[:, None, :]).to(device)
    return dist.to(device, dtype).requires_grad_(), same, margin.to(device, dtype), draw


def soft_weights(same: Tensor, draw: torch.Generator, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Weights of any size, some zero, whole rows and columns without positives or negatives among them."""
    pos, neg = (torch.rand(same.shape, generator=draw, dtype=torch.float64) for _ in range(2))
    pos, neg = pos * (pos > 0.3), neg * (neg > 0.3)
    pos[:, 0], neg[:, 1], pos[:, :, 2], neg[:, :, 3] = 0, 0, 0, 0
    return pos.to(same.device, dtype), neg.to(same.device, dtype)


def with_gradients(form: Callable[..., Tensor], dist: Tensor, *arguments: Tensor) -> tuple[Tensor, Tensor]:
    """The values of a form, and the gradient in the distances for uneven upstream gradients."""
    upstream = (torch.arange(dist[..., 0].numel(), dtype=dist.dtype, device=dist.device) % 5 - 1).view(dist.shape[:2])
    values = form(dist, *arguments)
    return values, torch.autograd.grad((values * upstream).sum(), dist)[0]


# --- MAP


def scored_embeddings(
    kind: str, lanes: int = 3, clips: int = 40
) -> tuple[Tensor, Tensor, Tensor, list[tuple[float, float]]]:
    """(audio [L, N, 6], visual, labels [N]) on the CPU, and the two scores of each lane by the kernel of `metrics`.

    Args:
        kind: `random`; `tied`: axes and their opposites, whose cosines are exact in any order of summation, and rows of
            zeros; or `collapsed`: those, but all clips of every lane but the first are one.
    """
    draw = torch.Generator().manual_seed(0)
    z_a, z_v = (torch.randn(lanes, clips, 6, generator=draw) for _ in range(2))
    if kind != "random":
        axes = torch.cat([torch.eye(6), -torch.eye(6), torch.zeros(1, 6)])
        z_a, z_v = (axes[torch.randint(0, 13, (lanes, clips), generator=draw)] for _ in range(2))
        if kind == "collapsed":
            z_a[1:] = z_v[1:] = axes[0]
    labels = torch.randint(0, 4, (clips,), generator=draw)
    scores = [retrieval_scores(a.numpy(), v.numpy(), labels.numpy()) for a, v in zip(z_a, z_v, strict=True)]
    return z_a, z_v, labels, [(score.map_a2v, score.map_v2a) for score in scores]
