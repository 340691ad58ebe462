"""Hybrid cross-modal similarity learning.

Zhang, Song, Zhu, Zhu & Zhang 2021, "HCMSL: Hybrid Cross-modal Similarity Learning for Cross-modal Retrieval".
Stated by the abstract: coupled fully connected networks map both views into a common subspace, with weights that the
two branches share; what is learned from are labelled and unlabelled cross-modal pairs, and pairs of clips within a view
with the same label, by two Siamese networks. Its equations could not be consulted. Our reading: each view has a layer
of its own, two further ones are shared; pairs with labels have the contrastive loss of Siamese networks (Hadsell,
Chopra, LeCun 2006) over the distances of unit embeddings, across and within the views; the two views of a clip belong
together whatever its label.

    d_ij    = ||zhat_i - zhat_j||_2
    C(x, y) = mean over pairs of one class of d_ij^2 + mean over the other pairs of [margin - d_ij]_+^2
    loss    = C(z_a, z_v) + w_intra * (C(z_a, z_a) + C(z_v, z_v)) + w_pair * mean_i ||zhat_a,i - zhat_v,i||^2

A row and itself are no pair within a view. The Siamese networks of the paper are convolutional, for images; features
that are vectors have none.

Legend: L lanes, B rows of a batch, D embedding.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Dropout, Tensors, cosine, init_linears, linear
from avtune.methods._base import TRAINING_HYPERS, Batch, Method, Progress
from avtune.methods._losses import same_class

_LEAST = 1e-12
"""Of a squared distance whose root is taken: the root of 0 has no gradient."""


class HCMSL(Method):
    """Contrastive losses across and within the views + distance of pairs, through layers that the views share
    (reading)."""

    name: ClassVar[str] = "hcmsl"
    summary: ClassVar[str] = "contrastive loss over labelled pairs across and within the views, and over the clips' own"
    source: ClassVar[str] = "Zhang et al. 2021; the kinds of pairs and shared weights stated, formulas a reading"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("margin", "float", 1.0, 0.0, 2.0, doc="distance of unit embeddings that pairs of other classes keep"),
        Hyper("w_intra", "float", 0.5, 0.0, 1000.0, doc="weight of the pairs within a view"),
        Hyper("w_pair", "float", 0.1, 0.0, 1000.0, doc="weight of the distance between the two views of a clip"),
        Hyper(
            "hidden_dim", "int", 1024, 8, 16384, static=True, doc="width of each view's own layer and the shared one"
        ),
        Hyper("embedding_dim", "int", 64, 2, 4096, static=True, doc="width D of the embeddings"),
        Hyper("dropout", "float", 0.2, 0.0, 0.9, doc="dropout after the two hidden layers, in steps of 1/256"),
        *TRAINING_HYPERS,
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden, width = int(self.static["hidden_dim"]), int(self.static["embedding_dim"])
        sizes = {
            "audio": (self.audio_dim, hidden),
            "visual": (self.visual_dim, hidden),
            "shared.0": (hidden, hidden),
            "shared.1": (hidden, width),
        }
        return init_linears(generator, sizes), {}

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return _encode(params, "audio", audio, None), _encode(params, "visual", visual, None)

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        dropout = batch.dropout(hyper["dropout"])
        z_a = _encode(params, "audio", batch.audio, dropout)
        z_v = _encode(params, "visual", batch.visual, dropout)
        same_LBB = same_class(batch.labels)
        others_BB = ~torch.eye(same_LBB.shape[1], dtype=torch.bool, device=same_LBB.device)
        across_LBB, margin_L = 2 - 2 * cosine(z_a, z_v), hyper["margin"]
        within = [2 - 2 * cosine(z, z) for z in (z_a, z_v)]
        terms = {
            "l_cross": _contrast(across_LBB, same_LBB, ~same_LBB, margin_L),
            "l_intra": sum(_contrast(d_LBB, same_LBB & others_BB, ~same_LBB, margin_L) for d_LBB in within),
            "l_pair": across_LBB.diagonal(dim1=1, dim2=2).mean(1),
        }
        total = terms["l_cross"] + hyper["w_intra"] * terms["l_intra"] + hyper["w_pair"] * terms["l_pair"]
        return {"loss": total, **terms}  # type: ignore[dict-item]


def _encode(params: Tensors, view: str, x_LBI: Tensor, dropout: Dropout | None) -> Tensor:
    """The view's own layer and a shared one, each with ReLU and dropout, then the shared linear layer: [L, B, D]."""
    for layer in (view, "shared.0"):
        x_LBI = torch.relu(linear(x_LBI, params[f"{layer}.weight"], params[f"{layer}.bias"]))
        if dropout is not None:
            x_LBI = dropout(x_LBI)
    return linear(x_LBI, params["shared.1.weight"], params["shared.1.bias"])


def _contrast(squares_LBB: Tensor, same_LBB: Tensor, apart_LBB: Tensor, margin_L: Tensor) -> Tensor:
    """Mean over pairs of one class of d^2, plus mean over the others of [margin - d]_+^2: [L]; 0 for what there is none
    of.

    Args:
        squares_LBB: d^2 of every pair.
        same_LBB, apart_LBB: bool, which pairs are of one class, and which are not.
    """
    short_LBB = torch.relu(margin_L[:, None, None] - squares_LBB.clamp(min=_LEAST).sqrt()).square()
    return _mean_of(squares_LBB, same_LBB) + _mean_of(short_LBB, apart_LBB)


def _mean_of(values_LBB: Tensor, chosen_LBB: Tensor) -> Tensor:
    chosen = chosen_LBB.to(values_LBB.dtype)
    return (values_LBB * chosen).sum((1, 2)) / chosen.sum((1, 2)).clamp(min=1)
