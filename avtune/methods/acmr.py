"""Adversarial cross-modal retrieval.

Wang, Yang, Xu, Hanjalic, Shen 2017, "Adversarial Cross-Modal Retrieval" (ACM MM). Exact: read in the authors' public
code (its script for triplets), whose networks, loss weights, learning rate and batch size are the defaults here. What
differs: their Adam has betas .5 and .999, the engine's AdamW .9 and .999; their text network starts with a narrower
layer than their image network, here both views' are alike; their loop steps embedding and modality classifier on
separate losses, here one step descends the total loss that the same script defines, so that the reversed gradient
reaches the embedding; retrieval is by cosine, theirs by Euclidean distance; dropout, 0 by default, is ours.

Legend: L lanes, B rows of a batch, D embedding, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Hyper, Value
from avtune.lanes.modules import Dropout, Tensors, cosine, init_linears, linear
from avtune.methods._base import TRAINING_HYPERS, Batch, Method, Progress, with_defaults
from avtune.methods._losses import LABEL_SMOOTHING, label_cross_entropy, same_class


class ACMR(Method):
    """Label cross-entropy + cross-modal triplets + a classifier of the modality behind a gradient reversal (exact).

    A triplet is an anchor, its pair, and of the other view the clip whose anchor-side features are nearest by cosine
    among those of other classes; distances are half squared Euclidean.
    """

    name: ClassVar[str] = "acmr"
    summary: ClassVar[str] = "label cross-entropy, cross-modal triplets, adversarial modality classifier"
    source: ClassVar[str] = "Wang et al. 2017, public code; exact but for the betas of Adam and equal networks"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("w_lab", "float", 100.0, 0.0, 10000.0, doc="weight of the label cross-entropy (100)"),
        Hyper("w_cross", "float", 1.0, 0.0, 1000.0, doc="weight of the triplets, a sum over the batch (1)"),
        Hyper("margin", "float", 0.1, 0.0, 1000.0, doc="margin of the triplets (0.1)"),
        Hyper("alpha", "float", 5.0, 0.0, 1000.0, doc="factor of the distance to the pair in the triplets (5)"),
        Hyper(
            "reversal",
            "float",
            1.0,
            0.0,
            1000.0,
            doc="factor of lambda = 2 / (1 + exp(-10 p)) - 1, p the share of epochs done, on the reversed gradient (1)",
        ),
        Hyper(
            "hinge",
            "choice",
            "batch",
            values=("batch", "clip"),
            static=True,
            doc="triplets: one hinge over the batch's summed distances (the code), or one for each clip (the paper)",
        ),
        Hyper("hidden_dim", "int", 512, 8, 16384, static=True, doc="width of each encoder's first layer (512)"),
        Hyper("second_dim", "int", 100, 2, 16384, static=True, doc="width of each encoder's second layer (100)"),
        Hyper("embedding_dim", "int", 40, 2, 4096, static=True, doc="width D of the embeddings (40)"),
        Hyper("dropout", "float", 0.0, 0.0, 0.9, doc="dropout after the first two layers; none in the paper"),
        LABEL_SMOOTHING,
        *with_defaults(TRAINING_HYPERS, lr=1e-4, weight_decay=0.0, batch_size=64),
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden, second, width = (int(self.static[name]) for name in ("hidden_dim", "second_dim", "embedding_dim"))
        sizes = {
            "head": (width, self.num_classes),
            "modality.0": (width, max(1, width // 2)),
            "modality.1": (max(1, width // 2), max(1, width // 4)),
            "modality.2": (max(1, width // 4), 2),
        }
        for view, num_in in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            sizes |= {f"{view}.0": (num_in, hidden), f"{view}.1": (hidden, second), f"{view}.2": (second, width)}
        return init_linears(generator, sizes), {}

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return _encode(params, "audio", audio, None), _encode(params, "visual", visual, None)

    @classmethod
    def lays_out(cls, config: Mapping[str, Value]) -> bool:
        return True

    def schedules(self, hyper: Tensors, progress: Progress) -> dict[str, Tensor]:
        """`lambda` [L]: the factor of the reversed gradient."""
        done_L = (progress.epoch / progress.epochs).clamp(max=1)
        return {"lambda": hyper["reversal"] * (2 / (1 + torch.exp(-10 * done_L)) - 1)}

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        dropout = batch.dropout(hyper["dropout"])
        z_a = _encode(params, "audio", batch.audio, dropout)
        z_v = _encode(params, "visual", batch.visual, dropout)
        terms = {
            "l_lab": label_cross_entropy(
                params["head.weight"], z_a, z_v, batch.labels, hyper["label_smoothing"], params["head.bias"]
            ),
            "l_cross": self._triplets(batch, hyper, z_a, z_v),
            "l_adv": _modality_cross_entropy(params, z_a, z_v, self.schedules(hyper, progress)["lambda"]),
        }
        total = hyper["w_lab"] * terms["l_lab"] + hyper["w_cross"] * terms["l_cross"] + terms["l_adv"]
        return {"loss": total, **terms}

    def _triplets(self, batch: Batch, hyper: Tensors, z_a: Tensor, z_v: Tensor) -> Tensor:
        """The sum of both directions: [L]. Anchors without a clip of another class do not count."""
        same = same_class(batch.labels)
        valid_LB = ~same.all(-1)
        pair_LB = (z_a - z_v).square().sum(-1) / 2
        total = torch.zeros_like(hyper["margin"])
        for features, anchors, others in ((batch.audio, z_a, z_v), (batch.visual, z_v, z_a)):
            nearest_LB = cosine(features, features).masked_fill(same, -torch.inf).argmax(-1)
            negatives = others.gather(1, nearest_LB[..., None].expand_as(others))
            gap_LB = hyper["alpha"][:, None] * pair_LB - (anchors - negatives).square().sum(-1) / 2
            if self.static["hinge"] == "batch":
                total = total + torch.relu(hyper["margin"] + (gap_LB * valid_LB).sum(1)) * valid_LB.any(1)
            else:
                total = total + (torch.relu(hyper["margin"][:, None] + gap_LB) * valid_LB).sum(1)
        return total


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_LBD: Tensor, factor_L: Tensor) -> Tensor:
        ctx.save_for_backward(factor_L)
        return x_LBD.view_as(x_LBD)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (factor_L,) = ctx.saved_tensors
        return grads[0] * -factor_L[:, None, None], None


def reverse_gradient(x_LBD: Tensor, factor_L: Tensor) -> Tensor:
    """x, whose gradient is multiplied by minus each lane's factor on the way back (Ganin, Lempitsky 2015)."""
    same: Tensor = _Reverse.apply(x_LBD, factor_L)  # type: ignore[no-untyped-call]
    return same


def _modality_cross_entropy(params: Tensors, z_a: Tensor, z_v: Tensor, lambda_L: Tensor) -> Tensor:
    """Mean cross-entropy of three linear layers that tell audio (class 0) from visual (class 1) embeddings: [L]."""
    total = torch.zeros_like(lambda_L)
    for which, z in enumerate((z_a, z_v)):
        x = reverse_gradient(z, lambda_L)
        for layer in range(3):
            x = linear(x, params[f"modality.{layer}.weight"], params[f"modality.{layer}.bias"])
        total = total - F.log_softmax(x, dim=-1)[..., which].mean(1)
    return total


def _encode(params: Tensors, view: str, x_LBI: Tensor, dropout: Dropout | None) -> Tensor:
    """Three linear layers, each followed by tanh: [L, B, D]."""
    for layer in range(3):
        x_LBI = torch.tanh(linear(x_LBI, params[f"{view}.{layer}.weight"], params[f"{view}.{layer}.bias"]))
        if dropout is not None and layer < 2:
            x_LBI = dropout(x_LBI)
    return x_LBI
