"""A triplet network followed by cluster-CCA on its outputs (Zeng, Yu, Oyama 2020).

exact, after the public code: a network of three tanh layers and a tanh output squashed by a sigmoid for each view, with
dropout after every tanh; triplets of an audio anchor, a visual clip of its class other than its own, and a visual clip
of another class, on squared Euclidean distances; then cluster-CCA with the covariance of the views mixed from the clips
(`pair_weight` 0.2) and all within-class pairs. When and on what the linear step is solved is a reading, see
`_running_cca`. The public code's other distance, the cosine one, is an option.

Legend: L lanes, B rows of a batch, D outputs of a network.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Dropout, Tensors, cosine, init_linears, linear
from avtune.lanes.triplets import weighted_triplets
from avtune.methods._base import NO_AVERAGE, Batch, Method, Progress, with_defaults
from avtune.methods._losses import same_class
from avtune.methods._running_cca import init_running, project, remember, settle

_LAYERS = ("0", "1", "2", "out")
_MIDDLE = 0.5
"""Of the outputs; subtracted before sums of squares, which then keep more digits."""


class TNNCCCA(Method):
    """Triplet network, then cluster-CCA on its outputs (exact)."""

    name: ClassVar[str] = "tnn_ccca"
    summary: ClassVar[str] = "triplet network, then cluster-CCA on its outputs"
    source: ClassVar[str] = "Zeng, Yu & Oyama 2020; exact"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("margin", "float", 0.3, 0.0, 4.0, doc="margin of the triplets, in the distance chosen"),
        Hyper("pair_weight", "float", 0.2, 0.0, 1.0, doc="share of the clips in the covariance that cluster-CCA uses"),
        Hyper("ridge", "float", 0.01, 1e-8, 1e4, doc="added to the variances of the outputs; published 1e-4"),
        Hyper("dropout", "float", 0.1, 0.0, 0.9, doc="dropout after each layer, in steps of 1/256"),
        Hyper(
            "distance",
            "choice",
            "squared",
            values=("squared", "cosine"),
            static=True,
            doc="distance of the triplets: squared Euclidean, or 1 - cosine",
        ),
        Hyper(
            "embedding_dim",
            "int",
            32,
            1,
            4096,
            static=True,
            doc="outputs of each network, and directions kept; published: 10",
        ),
        Hyper("hidden_dim", "int", 100, 8, 16384, static=True, doc="width of the three hidden layers of each network"),
        *with_defaults(NO_AVERAGE, lr=3e-3, batch_size=64),
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden, width = int(self.static["hidden_dim"]), int(self.static["embedding_dim"])
        params: Tensors = {}
        for view, size in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            widths = (size, hidden, hidden, hidden, width)
            layers = zip(_LAYERS, pairwise(widths), strict=True)
            params |= init_linears(generator, {f"{view}.{layer}": size for layer, size in layers})
        return params, init_running(self.num_classes, width)

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        z_a, z_v = _outputs(params, audio, visual, None)
        return project(buffers, z_a - _MIDDLE, z_v - _MIDDLE, int(self.static["embedding_dim"]))

    def settled(self, params: Tensors, buffers: Tensors) -> Tensors:
        return settle(buffers, int(self.static["embedding_dim"]))

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        z_a, z_v = _outputs(params, batch.audio, batch.visual, batch.dropout(hyper["dropout"]))
        same_LBB = same_class(batch.labels)
        own_BB = torch.eye(same_LBB.shape[1], dtype=torch.bool, device=same_LBB.device)
        pos_LBB, neg_LBB = (same_LBB & ~own_BB).to(z_a.dtype), (~same_LBB).to(z_a.dtype)
        num_triplets_L = (pos_LBB.sum(2) * neg_LBB.sum(2)).sum(1).clamp(min=1)
        d_LBB = 1 - cosine(z_a, z_v) if self.static["distance"] == "cosine" else _squared_distance(z_a, z_v)
        l_tri = weighted_triplets(d_LBB, pos_LBB, neg_LBB, hyper["margin"]).sum(1) / num_triplets_L
        with torch.no_grad():
            s_a, s_v = _outputs(params, batch.audio, batch.visual, None)
        remember(buffers, s_a - _MIDDLE, s_v - _MIDDLE, batch.labels, hyper["ridge"], hyper["pair_weight"])
        return {"loss": l_tri, "l_tri": l_tri.detach()}


def _outputs(params: Tensors, audio: Tensor, visual: Tensor, dropout: Dropout | None) -> tuple[Tensor, Tensor]:
    """[L, B, D] of both networks, each value in (sigmoid(-1), sigmoid(1)) without dropout."""
    made = []
    for view, x in (("audio", audio), ("visual", visual)):
        for layer in _LAYERS:
            x = torch.tanh(linear(x, params[f"{view}.{layer}.weight"], params[f"{view}.{layer}.bias"]))
            if dropout is not None:
                x = dropout(x)
        made.append(torch.sigmoid(x))
    return made[0], made[1]


def _squared_distance(a_LBD: Tensor, b_LBD: Tensor) -> Tensor:
    """Of every row of a to every row of b: [L, B, B]."""
    squares = a_LBD.square().sum(2)[:, :, None] + b_LBD.square().sum(2)[:, None, :]
    return squares - 2 * torch.bmm(a_LBD, b_LBD.transpose(1, 2))
