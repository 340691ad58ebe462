"""Deep supervised cross-modal retrieval.

Zhen, Hu, Wang, Peng 2019, "Deep Supervised Cross-modal Retrieval" (CVPR). Exact: read in the authors' public code,
whose networks, loss, loss weights, learning rate and batch size are the defaults here. What differs: their Adam has
betas .5 and .999, the engine's AdamW .9 and .999 (weight decay 0 by default, which makes it Adam); dropout, 0 by
default, is ours.

Legend: L lanes, B rows of a batch, D embedding, C classes.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Dropout, Tensors, init_linears, linear
from avtune.methods._base import TRAINING_HYPERS, Batch, Method, Progress, with_defaults
from avtune.methods._losses import LABEL_SMOOTHING, correlation_likelihood, label_l2, pair_distance, same_class


class DSCMR(Method):
    """Label l2 + likelihood of equal classes within and across the views + distance of pairs, through layers that
    the views share (exact)."""

    name: ClassVar[str] = "dscmr"
    summary: ClassVar[str] = "label l2 loss, likelihood of equal classes by cosine, distance of pairs, shared layers"
    source: ClassVar[str] = "Zhen et al. 2019, public code; exact but for the betas of Adam"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("w_corr", "float", 1e-3, 0.0, 1000.0, doc="weight of the likelihood of equal classes (alpha, 1e-3)"),
        Hyper("w_dis", "float", 0.1, 0.0, 1000.0, doc="weight of the distance between a clip's two views (beta, 1e-1)"),
        Hyper("hidden_dim", "int", 2048, 8, 16384, static=True, doc="width of each view's own layer (2048)"),
        Hyper("embedding_dim", "int", 1024, 2, 4096, static=True, doc="width D of the shared layer (1024)"),
        Hyper("dropout", "float", 0.0, 0.0, 0.9, doc="dropout after each view's own layer; none in the paper"),
        LABEL_SMOOTHING,
        *with_defaults(TRAINING_HYPERS, lr=1e-4, weight_decay=0.0, batch_size=100),
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden, width = int(self.static["hidden_dim"]), int(self.static["embedding_dim"])
        sizes = {
            "audio": (self.audio_dim, hidden),
            "visual": (self.visual_dim, hidden),
            "shared": (hidden, width),
            "head": (width, self.num_classes),
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
        same = same_class(batch.labels).to(z_a.dtype)
        head, bias = params["head.weight"], params["head.bias"]
        terms = {
            "l_lab": label_l2(head, z_a, z_v, batch.labels, self.num_classes, hyper["label_smoothing"], bias),
            "l_corr": (
                correlation_likelihood(z_a, z_a, same)
                + correlation_likelihood(z_a, z_v, same)
                + correlation_likelihood(z_v, z_v, same)
            ),
            "l_dis": pair_distance(z_a, z_v),
        }
        total = terms["l_lab"] + hyper["w_corr"] * terms["l_corr"] + hyper["w_dis"] * terms["l_dis"]
        return {"loss": total, **terms}


def _encode(params: Tensors, view: str, x_LBI: Tensor, dropout: Dropout | None) -> Tensor:
    """ReLU(Linear(x)) of the view's own, then the shared linear layer: [L, B, D]."""
    hidden = torch.relu(linear(x_LBI, params[f"{view}.weight"], params[f"{view}.bias"]))
    if dropout is not None:
        hidden = dropout(hidden)
    return linear(hidden, params["shared.weight"], params["shared.bias"])
