"""MAP, and what else a search may maximise, of all lanes at once on a GPU, without sorting the gallery.

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

from avtune.core.objective import MAP, Objective
from avtune.core.relevance import is_multi_label, relevance

CHUNK = 1 << 26
"""Similarities worked on at a time: about 2 GB of working memory."""


@torch.no_grad()
def lane_map(
    z_a_LND: Tensor, z_v_LND: Tensor, labels_N: Tensor, chunk: int = CHUNK, objective: Objective = MAP
) -> Tensor:
    """Standard MAP of each lane, audio queries and visual queries, as `metrics.retrieval_scores` defines it: [L, 2];
    with an objective that is not made of these two, its value too: [L, 3].

    Args:
        z_a_LND, z_v_LND: finite embeddings.
        labels_N: classes, int64, or bool [N, C]. Every clip has at least itself as a relevant item.
        chunk: similarities at a time.
        objective: what is maximised.
    """
    unit_a, unit_v = F.normalize(z_a_LND, dim=-1), F.normalize(z_v_LND, dim=-1)
    relevant = _Relevant.of(labels_N)
    directions = torch.stack(
        [
            _means(queries, gallery, relevant, chunk, objective)
            for queries, gallery in ((unit_a, unit_v), (unit_v, unit_a))
        ],
        1,
    )
    if objective.of_map:
        return directions[..., 0]
    weights = torch.tensor(objective.weights, device=directions.device, dtype=directions.dtype)
    return torch.cat([directions[..., 0], (directions[..., 1] * weights).sum(1, keepdim=True)], 1)


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


def _means(queries_LND: Tensor, gallery_LND: Tensor, relevant: _Relevant, chunk: int, objective: Objective) -> Tensor:
    """Means over the queries of their average precision and, where it is another, of the objective's metric: [L, 1 or
    2]."""
    lanes, clips, _ = queries_LND.shape
    # What is kept of the relevant clips of a query counts, too, where they are a large part of all.
    kept = clips + (8 * relevant.clips_CR.shape[1] if relevant.several else 0)
    rows = max(1, chunk // (lanes * kept))
    rank = torch.arange(1, clips + 1, device=queries_LND.device, dtype=torch.float64)
    sums = _RankSums(F.pad((1 / rank).cumsum(0), (1, 0)), F.pad((1 / torch.log2(1 + rank)).cumsum(0), (1, 0)))
    total_LM: Tensor | float = 0.0
    for start in range(0, clips, rows):
        part = slice(start, start + rows)
        sim_LQN = torch.bmm(queries_LND[:, part], gallery_LND.transpose(1, 2))
        places = _Places.of(sim_LQN, relevant, relevant.class_N[part])
        scores = [places.average_precision(sums)]
        scores += [] if objective.of_map else [places.metric(sums, objective)]
        total_LM = total_LM + torch.stack([score_LQ.sum(1) for score_LQ in scores], 1)
    assert isinstance(total_LM, Tensor)
    return total_LM / clips


@dataclass(frozen=True)
class _RankSums:
    """Sums over the first 0, 1, 2, ... ranks, float64 [N + 1]: of 1 / rank, and of 1 / log2(1 + rank)."""

    inverse: Tensor
    discount: Tensor


@dataclass(frozen=True)
class _Places:
    """Where the relevant items of queries are. In the words of `metrics.ties`: a tie of `size` items, `hits` of them
    relevant, behind `before` items, `found` of them relevant. Every relevant item of a tie contributes what the tie
    does divided by its hits: means over the orders of equal similarities.

    Attributes:
        before, size, found, hits: of each relevant item, int64 [L, Q, R].
        is_own_QR: which of the R places are relevant items, bool [Q, R].
        count_Q1: relevant items [Q, 1].
    """

    before: Tensor
    size: Tensor
    found: Tensor
    hits: Tensor
    is_own_QR: Tensor
    count_Q1: Tensor

    @classmethod
    def of(cls, sim_LQN: Tensor, relevant: _Relevant, class_Q: Tensor) -> _Places:
        """
        Args:
            sim_LQN: similarities to every item.
            relevant: the items of each class.
            class_Q: of the queries.
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
        return cls(before, size, found, hits, is_own_QR, count_Q1)

    def average_precision(self, sums: _RankSums) -> Tensor:
        """[L, Q]: over all ranks."""
        return self._precision(sums, self.size) / self.count_Q1[:, 0]

    def metric(self, sums: _RankSums, objective: Objective) -> Tensor:
        """[L, Q]: MAP@R, MAP@k or NDCG of the queries, as `metrics.cutoffs` defines them."""
        if objective.metric == "ndcg":
            each = (sums.discount[self.before + self.size] - sums.discount[self.before]) / self.size
            return torch.where(self.is_own_QR, each, 0).sum(-1) / sums.discount[self.count_Q1[:, 0]]
        cut_Q1 = self.count_Q1 if objective.metric == "map@r" else torch.full_like(self.count_Q1, objective.k)
        inside = torch.minimum((cut_Q1 - self.before).clamp(min=0), self.size)
        return self._precision(sums, inside) / torch.minimum(cut_Q1, self.count_Q1)[:, 0]

    def _precision(self, sums: _RankSums, inside: Tensor) -> Tensor:
        """[L, Q]: the precision at each relevant item, summed over those in the first `inside` places of their ties."""
        inverse = sums.inverse[self.before + inside] - sums.inverse[self.before]
        ramp = inside - (self.before + 1) * inverse
        others = (self.hits - 1).double() / (self.size - 1).clamp(min=1)
        each = ((self.found + 1) * inverse + others * ramp) / self.size
        return torch.where(self.is_own_QR, each, 0).sum(-1)


def _at_most(own_LQR: Tensor, sim_LQN: Tensor, *, itself: bool) -> Tensor:
    """int64 [L, Q, R]: how many similarities are below each of `own_LQR`, which is sorted; with `itself` at most it."""
    place_LQN = torch.searchsorted(own_LQR, sim_LQN, right=not itself)
    *shape, relevant = own_LQR.shape
    histogram = torch.zeros(*shape, relevant + 1, device=own_LQR.device, dtype=torch.int64)
    histogram.scatter_add_(-1, place_LQN, torch.ones_like(histogram[..., :1]).expand(place_LQN.shape))
    return histogram.cumsum_(-1)[..., :-1]
