"""Explicit and implicit dual common subspaces.

Zeng, Wu, Hattori, Xu, Yu 2023, "Learning Explicit and Implicit Dual Common Sub-spaces for Audio-visual Cross-modal
Retrieval" (TOMM). Stated by the paper: both views are projected at once into an explicit subspace, which closes the gap
between the views of a clip, and an implicit one, where each view brings its features close to their labels; retrieval
uses both. The formulas below are our reading of it.

Legend: L lanes, B rows of a batch, D width of one subspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Hyper, Value
from avtune.lanes.modules import Dropout, Tensors, encoder, init_encoder, init_linear
from avtune.methods._base import TRAINING_HYPERS, Batch, Method, Progress
from avtune.methods._losses import LABEL_SMOOTHING, correlation_likelihood, label_l2, pair_distance, same_class
from avtune.methods.psd import BLOCK_HYPERS


class EICS(Method):
    """l_imp + w_exp * l_exp + w_diff * l_diff over two heads of each view's trunk (reading).

    With e the explicit and s the implicit features, W the label head, L the likelihood of `correlation_likelihood`:

        l_exp  = mean_i ||e_a,i - e_v,i|| + alpha * L(e_a, e_v; the pairs)
        l_imp  = mean_i ||W s_a,i - y_i|| + ||W s_v,i - y_i||
                 + beta * (L(s_a, s_a; same class) + L(s_v, s_v; same class))
        l_diff = ||Ehat_a^T Shat_a||_F^2 / B^2 + ||Ehat_v^T Shat_v||_F^2 / B^2

    l_diff is the soft orthogonality of the two subspaces (Bousmalis et al. 2016), over the batch's unit rows.
    """

    name: ClassVar[str] = "eics"
    summary: ClassVar[str] = "an explicit subspace for pairs and an implicit one for labels; retrieval by both"
    source: ClassVar[str] = "Zeng et al. 2023; the two subspaces stated, formulas a reading"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("w_exp", "float", 0.3, 0.0, 1000.0, doc="weight of the explicit subspace's loss"),
        Hyper("w_diff", "float", 0.0, 0.0, 1000.0, doc="weight of the orthogonality of the two subspaces"),
        Hyper("alpha", "float", 10.0, 0.0, 1000.0, doc="weight of the likelihood of pairs within the explicit loss"),
        Hyper("beta", "float", 0.1, 0.0, 1000.0, doc="weight of the likelihood of classes within the implicit loss"),
        Hyper(
            "embedding_dim", "int", 32, 2, 4096, static=True, doc="width D of each subspace; embeddings have both, 2 D"
        ),
        Hyper("hidden_dim", "int", 1024, 8, 16384, static=True, doc="width of the hidden layers of each trunk"),
        Hyper("dropout", "float", 0.2, 0.0, 0.9, doc="dropout after each hidden layer, in steps of 1/256"),
        LABEL_SMOOTHING,
        *BLOCK_HYPERS,
        *TRAINING_HYPERS,
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden, width = int(self.static["hidden_dim"]), int(self.static["embedding_dim"])
        params: Tensors = {}
        buffers: Tensors = {}
        for view, size in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            weights, statistics = init_encoder(generator, size, hidden, 2 * width, self.style)
            params |= {f"{view}.{name}": value for name, value in weights.items()}
            buffers |= {f"{view}.{name}": value for name, value in statistics.items()}
        params["head.weight"] = init_linear(generator, width, self.num_classes, bias=False)["weight"]
        return params, buffers

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Both subspaces side by side, each normalised: the cosine is the mean of the two cosines."""
        z_a, z_v = (
            torch.cat([F.normalize(part, dim=-1) for part in self._heads(params, buffers, view, x, None)], -1)
            for view, x in (("audio", audio), ("visual", visual))
        )
        return z_a, z_v

    @classmethod
    def width(cls, config: Mapping[str, Value], num_classes: int) -> int:
        return 2 * int(config["embedding_dim"])

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        dropout = batch.dropout(hyper["dropout"])
        e_a, s_a = self._heads(params, buffers, "audio", batch.audio, dropout)
        e_v, s_v = self._heads(params, buffers, "visual", batch.visual, dropout)
        same = same_class(batch.labels).to(s_a.dtype)
        pairs = torch.eye(same.shape[1], device=same.device, dtype=same.dtype)
        l_exp = pair_distance(e_a, e_v) + hyper["alpha"] * correlation_likelihood(e_a, e_v, pairs)
        alike = correlation_likelihood(s_a, s_a, same) + correlation_likelihood(s_v, s_v, same)
        l_imp = label_l2(params["head.weight"], s_a, s_v, batch.labels, self.num_classes, hyper["label_smoothing"])
        l_imp = l_imp + hyper["beta"] * alike
        l_diff = _overlap(e_a, s_a) + _overlap(e_v, s_v)
        total = l_imp + hyper["w_exp"] * l_exp + hyper["w_diff"] * l_diff
        return {"loss": total, "l_imp": l_imp, "l_exp": l_exp, "l_diff": l_diff}

    def _heads(
        self, params: Tensors, buffers: Tensors, view: str, x_LBI: Tensor, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor]:
        """The explicit and the implicit features of one view, [L, B, D] each."""
        both = encoder(params, buffers, f"{view}.", x_LBI, dropout, self.style)
        width = int(self.static["embedding_dim"])
        return both[..., :width], both[..., width:]


def _overlap(e_LBD: Tensor, s_LBD: Tensor) -> Tensor:
    """||Ehat^T Shat||_F^2 / B^2: [L]."""
    product_LDD = torch.bmm(F.normalize(e_LBD, dim=-1).transpose(1, 2), F.normalize(s_LBD, dim=-1))
    return product_LDD.square().sum((1, 2)) / e_LBD.shape[1] ** 2
