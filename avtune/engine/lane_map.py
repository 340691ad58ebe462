"""MAP of all lanes at once on a GPU, without sorting the gallery.

A query's average precision needs, for each relevant item, how many items are more similar and how many are exactly as
similar. Only the similarities of the relevant items are sorted; every item then finds its place among them by binary
search, and a histogram of the places gives the counts. With C classes that sorts a C-th of what a full sort does.

Legend: L lanes, N clips, D embedding, Q queries of a chunk, C classes, R relevant items of the largest class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.relevance import is_multi_label, relevance

CHUNK = 1 << 26
"""Similarities worked on at a time: about 2 GB of working memory."""


@torch.no_grad()
def lane_map(z_a_LND: Tensor, z_v_LND: Tensor, labels_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """Standard MAP of each lane: [L, 2], audio queries and visual queries, as `metrics.retrieval_scores` defines it.

    Args:
        z_a_LND, z_v_LND: finite embeddings.
        labels_N: classes, int64, or bool [N, C]. Every clip has at least itself as a relevant item.
        chunk: similarities at a time.
    """
    unit_a, unit_v = F.normalize(z_a_LND, dim=-1), F.normalize(z_v_LND, dim=-1)
    relevant = _Relevant.of(labels_N)
    return torch.stack(
        [_map(queries, gallery, relevant, chunk) for queries, gallery in ((unit_a, unit_v), (unit_v, unit_a))], 1
    )


@dataclass(frozen=True)
class _Relevant:
    """The clips that are relevant to those of each class. Where clips have several labels, a class is a set of labels.

    Attributes:
        class_N: class of each clip, 0 to C - 1.
        clips_CR: relevant clips of each class, filled up with clip 0.
        count_C: how many of a row are relevant clips.
        several: clips have several labels.
    """

    class_N: Tensor
    clips_CR: Tensor
    count_C: Tensor
    several: bool = False

    @classmethod
    def of(cls, labels_N: Tensor) -> _Relevant:
        """Reads the largest number of relevant clips back from the device, once."""
        if is_multi_label(labels_N):
            sets_SC, class_N = torch.unique(labels_N, dim=0, return_inverse=True)
            relevant_SN = relevance(sets_SC, labels_N)
            count_S = relevant_SN.sum(1)
            clips_SR = (~relevant_SN).byte().argsort(dim=1, stable=True)[:, : int(count_S.max())]
            return cls(class_N, clips_SR, count_S, several=True)
        _, class_N, count_C = torch.unique(labels_N, return_inverse=True, return_counts=True)
        by_class_N = class_N.argsort(stable=True)
        place_R = torch.arange(int(count_C.max()), device=labels_N.device)
        start_C = count_C.cumsum(0) - count_C
        at_CR = (start_C[:, None] + place_R).clamp(max=len(labels_N) - 1)
        clips_CR = torch.where(place_R < count_C[:, None], by_class_N[at_CR], 0)
        return cls(class_N, clips_CR, count_C)


def _map(queries_LND: Tensor, gallery_LND: Tensor, relevant: _Relevant, chunk: int) -> Tensor:
    lanes, clips, _ = queries_LND.shape
    # What is kept of the relevant clips of a query counts, too, where they are a large part of all.
    places = clips + (8 * relevant.clips_CR.shape[1] if relevant.several else 0)
    rows = max(1, chunk // (lanes * places))
    rank = torch.arange(1, clips + 1, device=queries_LND.device, dtype=torch.float64)
    harmonic = F.pad((1 / rank).cumsum(0), (1, 0))
    total_L = torch.zeros(lanes, device=queries_LND.device, dtype=torch.float64)
    for start in range(0, clips, rows):
        part = slice(start, start + rows)
        sim_LQN = torch.bmm(queries_LND[:, part], gallery_LND.transpose(1, 2))
        total_L += _average_precision(sim_LQN, relevant, relevant.class_N[part], harmonic).sum(1)
    return total_L / clips


def _average_precision(sim_LQN: Tensor, relevant: _Relevant, class_Q: Tensor, harmonic: Tensor) -> Tensor:
    """[L, Q]: the average precision of queries of these classes, its mean over the orders of equal similarities.

    In the words of `metrics.ties`: a tie of `size` items, `hits` of them relevant, behind `before` items, `found` of
    them relevant. Every relevant item of a tie contributes the tie's precision divided by its hits.

    Args:
        sim_LQN: similarities to every item.
        relevant: the items of each class.
        class_Q: of the queries.
        harmonic: sums of 1 / rank, float64 [N + 1].
    """
    lanes, _, clips = sim_LQN.shape
    count_Q1 = relevant.count_C[class_Q][:, None]
    own_LQR = sim_LQN.gather(-1, relevant.clips_CR[class_Q].expand(lanes, -1, -1))
    is_own_QR = torch.arange(own_LQR.shape[-1], device=own_LQR.device) < count_Q1
    own_LQR = own_LQR.masked_fill(~is_own_QR, torch.inf).sort(-1).values
    before = clips - _at_most(own_LQR, sim_LQN, itself=True)
    size = clips - _at_most(own_LQR, sim_LQN, itself=False) - before
    last = torch.searchsorted(own_LQR, own_LQR, right=True)
    found, hits = count_Q1 - last, last - torch.searchsorted(own_LQR, own_LQR)
    inverse = harmonic[before + size] - harmonic[before]
    ramp = size - (before + 1) * inverse
    others = (hits - 1).double() / (size - 1).clamp(min=1)
    each = ((found + 1) * inverse + others * ramp) / size
    return torch.where(is_own_QR, each, 0).sum(-1) / count_Q1[:, 0]


def _at_most(own_LQR: Tensor, sim_LQN: Tensor, *, itself: bool) -> Tensor:
    """int64 [L, Q, R]: how many similarities are below each of `own_LQR`, which is sorted; with `itself` at most it."""
    place_LQN = torch.searchsorted(own_LQR, sim_LQN, right=not itself)
    *shape, relevant = own_LQR.shape
    histogram = torch.zeros(*shape, relevant + 1, device=own_LQR.device, dtype=torch.int64)
    histogram.scatter_add_(-1, place_LQN, torch.ones_like(histogram[..., :1]).expand(place_LQN.shape))
    return histogram.cumsum_(-1)[..., :-1]
