"""Anchor-aware deep metric learning.

Zeng, Wang, Ikeda, Yu 2024, "Anchor-aware Deep Metric Learning for Audio-visual Retrieval" (ICMR). Stated by the
paper: a graph of each view joins an anchor to its k nearest clips of the batch by cosine; attention over them gives a
proxy that replaces the anchor in the triplets' distances, in training only. The attention is our reading of it; where
more than one reading is plausible, the others are options.

Legend: L lanes, B rows of a batch, D embedding, K most neighbours.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Tensors, cosine, init_linear
from avtune.methods._base import TRAINING_HYPERS, Batch, Progress
from avtune.methods._losses import same_class
from avtune.methods.psd import ENCODER_HYPERS, TRIPLET_HYPERS
from avtune.methods.triplet import Triplet

_MAX_NEIGHBOURS = 64


class AADML(Triplet):
    """`triplet` whose anchors are proxies: attention-weighted means of the anchor's nearest neighbours (reading).

    proxy_i = sum_j softmax_j(s_ij / tau) zhat_j over the k clips j of i's view nearest to it by cosine, itself among
    them: with k = 1 the loss is that of `triplet`. s_ij is their cosine, or the product of two learned projections.
    """

    name: ClassVar[str] = "aadml"
    summary: ClassVar[str] = "cross-modal triplets whose anchors are attention-weighted means of their neighbours"
    source: ClassVar[str] = "Zeng et al. 2024; proxies stated, their attention a reading"
    hypers: ClassVar[tuple[Hyper, ...]] = (
        *TRIPLET_HYPERS,
        Hyper(
            "k",
            "int",
            10,
            1,
            _MAX_NEIGHBOURS,
            doc="neighbours that make a proxy, the anchor among them (5 to 10); at most the clips of a step",
        ),
        Hyper("tau", "float", 0.5, 0.001, 100.0, doc="temperature of the attention over the neighbours"),
        Hyper(
            "attention",
            "choice",
            "cosine",
            values=("cosine", "learned"),
            static=True,
            doc="attention scores: cosines, or inner products of learned projections of anchor and neighbour",
        ),
        Hyper(
            "graph",
            "choice",
            "nearest",
            values=("nearest", "same_class"),
            static=True,
            doc="who can be a neighbour: any clip of the batch, or those of the anchor's class",
        ),
        *ENCODER_HYPERS,
        *TRAINING_HYPERS,
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        params, buffers = super().init(generator)
        if self.static["attention"] == "learned":
            width = int(self.static["embedding_dim"])
            for side in ("query", "key"):
                params[f"attention.{side}"] = init_linear(generator, width, width, bias=False)["weight"]
        return params, buffers

    def _cross(
        self,
        params: Tensors,
        buffers: Tensors,
        batch: Batch,
        hyper: Tensors,
        progress: Progress,
        z_a: Tensor,
        z_v: Tensor,
    ) -> Tensor:
        """l_tri on d(i, j) = 1 - cos(proxy_i, z_j), the mean of both directions: [L]."""
        same_LBB = same_class(batch.labels)
        anchors = [(self._proxies(params, z, same_LBB, hyper), other) for z, other in ((z_a, z_v), (z_v, z_a))]
        a2v_L, v2a_L = (
            self._labelled_triplets(1 - cosine(proxy_LBD, z_LBD), same_LBB, hyper["margin"])
            for proxy_LBD, z_LBD in anchors
        )
        return (a2v_L + v2a_L) / 2

    def _proxies(self, params: Tensors, z_LBD: Tensor, same_LBB: Tensor, hyper: Tensors) -> Tensor:
        """proxy_i = sum_j softmax_j(s_ij / tau) zhat_j over the k neighbours j of row i: [L, B, D]."""
        unit_LBD = F.normalize(z_LBD, dim=-1)
        scores_LBB = near_LBB = torch.bmm(unit_LBD, unit_LBD.transpose(1, 2))
        with torch.no_grad():
            if self.static["graph"] == "same_class":
                near_LBB = near_LBB.masked_fill(~same_LBB, -torch.inf)
            # k differs between lanes: the similarity of the k-th neighbour is the row's threshold.
            best_LBK = near_LBB.topk(min(_MAX_NEIGHBOURS, near_LBB.shape[-1]), dim=-1).values
            last_L = (torch.round(hyper["k"]).long() - 1).clamp(0, best_LBK.shape[-1] - 1)
            threshold_LB1 = best_LBK.gather(-1, last_L[:, None, None].expand(-1, best_LBK.shape[1], 1))
            outside_LBB = (near_LBB < threshold_LB1) | torch.isneginf(near_LBB)
        if self.static["attention"] == "learned":
            query_LBD, key_LBD = (torch.bmm(unit_LBD, params[f"attention.{side}"]) for side in ("query", "key"))
            scores_LBB = torch.bmm(query_LBD, key_LBD.transpose(1, 2))
        weights_LBB = (scores_LBB / hyper["tau"][:, None, None]).masked_fill(outside_LBB, -torch.inf).softmax(-1)
        return torch.bmm(weights_LBB, unit_LBD)
