"""Canonical correlation of two views, lane by lane: what `cca`, `dcca` and their relatives share.

The canonical directions w_a, w_v maximise the correlation of a w_a with v w_v over the pairs (a, v) of a set, which is
either the clips themselves or all pairs of one clip's audio with another clip's visual of the same class (cluster-CCA,
Rasiwasia et al. 2014). With covariances C and a ridge r they are the singular vectors of
T = (C_aa + r)^-1/2 C_av (C_vv + r)^-1/2, and the correlations its singular values (Hotelling 1936; Andrew et al. 2013).
The roots here are Cholesky factors, which give the same directions. Sums over within-class pairs come from the sums of
each class; the pairs themselves are never made. Where clips have several labels, each has an equal share of each of
them, and a pair weighs the sum over the shared labels of the products of these shares, as multi-label CCA weighs pairs
by how alike their labels are (Ranjan, Rasiwasia, Jawahar 2015); plain CCA is the same then.

Everything that follows the sums is in float64, and no lane can stop another: one that is not finite gets NaN.

Legend: L lanes, B rows, A audio width, V visual width, C classes, K directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.lanes.modules import label_shares, of_labels

_NO_CORRELATION = 1e-10
"""Singular values below this part of the largest are zero but for rounding: they get no gradient, which would point
nowhere."""
_TIE_BREAK = 1e-9
"""Part of the mean singular value that is added at random, see `directions`."""


@dataclass(frozen=True)
class Sums:
    """What is summed over rows. `count` [L, C]; `audio` [L, C, A] and `visual` [L, C, V] by class; `aa` [L, A, A], `vv`
    [L, V, V] and `av` [L, A, V] products of the rows' two views."""

    count: Tensor
    audio: Tensor
    visual: Tensor
    aa: Tensor
    vv: Tensor
    av: Tensor

    def double(self) -> Sums:
        return Sums(*(getattr(self, field.name).double() for field in fields(self)))


@dataclass(frozen=True)
class Moments:
    """Means [L, A], [L, V] and covariances [L, A, A], [L, V, V], [L, A, V] over a set of pairs."""

    mean_a: Tensor
    mean_v: Tensor
    cov_aa: Tensor
    cov_vv: Tensor
    cov_av: Tensor


def class_sums(audio_LBA: Tensor, visual_LBV: Tensor, labels_LB: Tensor, num_classes: int) -> Sums:
    """The sums over the rows of each lane, in the rows' own dtype."""
    member_LCB = label_shares(labels_LB, num_classes, audio_LBA.dtype).transpose(1, 2)
    audio_LAB = audio_LBA.transpose(1, 2)
    return Sums(
        member_LCB.sum(2),
        torch.bmm(member_LCB, audio_LBA),
        torch.bmm(member_LCB, visual_LBV),
        torch.bmm(audio_LAB, audio_LBA),
        torch.bmm(visual_LBV.transpose(1, 2), visual_LBV),
        torch.bmm(audio_LAB, visual_LBV),
    )


def mixed_moments(sums: Sums, pair_weight_L: Tensor) -> Moments:
    """Covariances of the rows of each view, and between the views w * (over the clips) + (1 - w) * (over all
    within-class pairs), all around the means of the rows, as the code of TNN-C-CCA mixes them.

    w = 1 is plain CCA. No rows at all have covariance 0.
    """
    sums = sums.double()
    num = sums.count.sum(1).clamp(min=1)[:, None]
    mean_a, mean_v = sums.audio.sum(1) / num, sums.visual.sum(1) / num

    def covariance(products: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return (products - num[..., None] * _outer(left, right)) / (num[..., None] - 1).clamp(min=1)

    centred_a = sums.audio - sums.count[..., None] * mean_a[:, None]
    centred_v = sums.visual - sums.count[..., None] * mean_v[:, None]
    num_pairs = sums.count.square().sum(1).clamp(min=1)[:, None, None]
    cluster = torch.bmm(centred_a.transpose(1, 2), centred_v) / num_pairs
    weight = pair_weight_L.double()[:, None, None]
    return Moments(
        mean_a,
        mean_v,
        covariance(sums.aa, mean_a, mean_a),
        covariance(sums.vv, mean_v, mean_v),
        weight * covariance(sums.av, mean_a, mean_v) + (1 - weight) * cluster,
    )


def cluster_moments(audio_LBA: Tensor, visual_LBV: Tensor, labels_LB: Tensor, num_classes: int) -> Moments:
    """Means and covariances over all within-class pairs, each pair one sample: a row of a class of n clips counts n
    times (Rasiwasia et al. 2014)."""
    audio, visual = audio_LBA.double(), visual_LBV.double()
    member_LBC = label_shares(labels_LB, num_classes, audio.dtype)
    count_LC = member_LBC.sum(1)
    times_LB = of_labels(count_LC[:, None].expand_as(member_LBC), labels_LB)
    num_pairs_L11 = times_LB.sum(1)[:, None, None]
    share_LB1 = times_LB[..., None] / num_pairs_L11
    mean_a, mean_v = (share_LB1 * audio).sum(1), (share_LB1 * visual).sum(1)
    audio, visual = audio - mean_a[:, None], visual - mean_v[:, None]
    sums_a, sums_v = (torch.bmm(member_LBC.transpose(1, 2), view) for view in (audio, visual))
    return Moments(
        mean_a,
        mean_v,
        torch.bmm(audio.transpose(1, 2), share_LB1 * audio),
        torch.bmm(visual.transpose(1, 2), share_LB1 * visual),
        torch.bmm(sums_a.transpose(1, 2), sums_v) / num_pairs_L11,
    )


def top_correlations(moments: Moments, ridge_L: Tensor, rank: int) -> Tensor:
    """The sum of the `rank` largest canonical correlations, float64 [L]; NaN for a lane that is not finite.

    The gradient is the sum of u v^T over these directions: it needs no differences of singular values, so it is stable
    when some are equal.
    """
    whitened, _, _ = _whiten(moments, ridge_L)
    finite_L = torch.isfinite(whitened).all(2).all(1)
    values_LK = torch.linalg.svdvals(torch.where(finite_L[:, None, None], whitened, 0))[:, :rank]
    real_LK = values_LK.detach() > _NO_CORRELATION * values_LK.detach()[:, :1]
    return torch.where(finite_L, (values_LK * real_LK).sum(1), torch.nan)


@torch.no_grad()
def directions(moments: Moments, ridge_L: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The canonical directions.

    Returns:
        float64 ([L, A, K] audio, [L, V, K] visual, [L, K] correlations) in descending order, K = `rank`; columns
        beyond the smaller view's width are zero. Directions without correlation (cluster-CCA has at most C - 1 with)
        are arbitrary; a fixed draw decides, not rounding, so that they are the same everywhere. A lane that is not
        finite gets NaN.
    """
    whitened, root_a, root_v = _whiten(moments, ridge_L)
    finite_L = torch.isfinite(whitened).all(2).all(1)
    _, num_a, num_v = whitened.shape
    draw = torch.randn(num_a, num_v, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    size_L11 = torch.linalg.matrix_norm(whitened)[:, None, None] / math.sqrt(num_a * num_v)
    whitened = whitened + _TIE_BREAK * size_L11 * draw.to(whitened)
    left, values_LK, right = torch.linalg.svd(torch.where(finite_L[:, None, None], whitened, 0), full_matrices=False)
    have = min(rank, values_LK.shape[1])
    values_LK = torch.where(finite_L[:, None], values_LK[:, :have], torch.nan)
    made = [
        torch.linalg.solve_triangular(root.transpose(1, 2), vectors[..., :have], upper=True) * _nan_unless(finite_L)
        for root, vectors in ((root_a, left), (root_v, right.transpose(1, 2)))
    ]
    missing = (0, rank - have)
    return F.pad(made[0], missing), F.pad(made[1], missing), F.pad(values_LK, missing)


def _nan_unless(finite_L: Tensor) -> Tensor:
    """float64 [L, 1, 1]: 1 for a finite lane, NaN for another."""
    return torch.where(finite_L, 1.0, torch.nan).double()[:, None, None]


def _whiten(moments: Moments, ridge_L: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(T [L, A, V], lower roots of both views' covariances)."""
    ridge_L11 = ridge_L.double()[:, None, None]
    roots = []
    for cov in (moments.cov_aa, moments.cov_vv):
        eye = torch.eye(cov.shape[-1], dtype=cov.dtype, device=cov.device)
        # cholesky_ex does not raise: the root of a lane whose matrix is not positive definite is replaced by NaN.
        root, failed_L = torch.linalg.cholesky_ex(cov + ridge_L11 * eye)
        roots.append(torch.where((failed_L == 0)[:, None, None], root, torch.nan))
    half = torch.linalg.solve_triangular(roots[0], moments.cov_av, upper=False)
    whitened = torch.linalg.solve_triangular(roots[1], half.transpose(1, 2), upper=False).transpose(1, 2)
    return whitened, roots[0], roots[1]


def _outer(left_LA: Tensor, right_LV: Tensor) -> Tensor:
    return left_LA[:, :, None] * right_LV[:, None, :]
