"""Progressive self-distillation for audio-visual embeddings.

Zeng & Ikeda 2025, "Metric Learning with Progressive Self-Distillation for Audio-Visual Embedding Learning".
Stated by the paper: the loss is a labelled loss, a cross-modal triplet loss and a distance term; each batch is split by
the annotation ratio r; soft alignments of the network's own (gradient stopped) similarities make soft cross-modal
triplets of the unannotated part; r shrinks as training goes on. The formulas below are our reading of it; where
more than one reading is plausible, the others are options.

Legend: L lanes, B rows of a batch, D embedding, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Hyper, Value
from avtune.lanes.modules import Tensors, cosine, encoder, init_encoder, init_linear
from avtune.lanes.triplets import hard_triplets, semihard_triplets, weighted_triplets
from avtune.methods._base import TRAINING_HYPERS, Batch, Method, Progress
from avtune.methods._losses import label_cross_entropy, label_l2, pair_distance, same_class

ENCODER_HYPERS = (
    Hyper("embedding_dim", "int", 64, 2, 4096, static=True, doc="width D of the embeddings"),
    Hyper("hidden_dim", "int", 1024, 8, 16384, static=True, doc="width of the two hidden layers of each encoder"),
    Hyper("dropout", "float", 0.2, 0.0, 0.9, doc="dropout after each hidden layer, in steps of 1/256"),
)
TRIPLET_HYPERS = (
    Hyper("margin", "float", 0.2, 0.0, 2.0, doc="margin of the triplets, in cosine distance (0 to 2)"),
    Hyper("w_lab", "float", 1.0, 0.0, 1000.0, doc="weight of the labelled loss"),
    Hyper("w_cross", "float", 3.0, 0.0, 1000.0, doc="weight of the cross-modal triplet loss"),
    Hyper("w_dis", "float", 0.1, 0.0, 1000.0, doc="weight of the distance between the two views of a clip"),
    Hyper(
        "label_loss",
        "choice",
        "l2",
        values=("l2", "cross_entropy"),
        static=True,
        doc="labelled loss: l2 distance of P z to the one-hot label, or cross-entropy",
    ),
    Hyper(
        "mining",
        "choice",
        "all",
        values=("all", "hard", "semihard"),
        static=True,
        doc="triplets of the annotated part: all, farthest positive with nearest negative, or semi-hard",
    ),
    Hyper(
        "distance_loss",
        "choice",
        "pair",
        values=("pair", "decorrelation"),
        static=True,
        doc="l_dis: mean distance of a clip's two embeddings, or off-diagonal energy of their cross-correlation",
    ),
)
DISTILLATION_HYPERS = (
    Hyper("r_init", "float", 0.9, 0.0, 1.0, doc="annotation ratio r of the first epoch"),
    Hyper(
        "r_shrink", "float", 0.97, 0.0, 1.0, doc="exponential: factor of r per epoch; linear, cosine: final r / r_init"
    ),
    Hyper("r_min", "float", 0.0, 0.0, 1.0, doc="smallest annotation ratio"),
    Hyper("tau", "float", 0.1, 0.001, 100.0, doc="temperature of the soft alignments"),
    Hyper("ema_decay", "float", 0.99, 0.0, 0.9999, doc="per-step decay of the averaged teacher (teacher: ema)"),
    Hyper(
        "r_schedule",
        "choice",
        "exponential",
        values=("exponential", "linear", "cosine"),
        static=True,
        doc="how r shrinks over the epochs",
    ),
    Hyper(
        "soft_labels",
        "choice",
        "similarity",
        values=("similarity", "class_probability"),
        static=True,
        doc="soft alignments: softmaxed similarities, or products of class probabilities",
    ),
    Hyper(
        "soft_swap",
        "bool",
        False,
        static=True,
        doc="use the soft alignments of the other direction (audio to visual for visual to audio)",
    ),
    Hyper(
        "teacher",
        "choice",
        "self",
        values=("self", "ema"),
        static=True,
        doc="who gives soft alignments: the network itself, or the moving average of its weights",
    ),
)


class PSD(Method):
    """Labelled loss + cross-modal triplets (labels, then more and more soft alignments) + distance of pairs
    (reading)."""

    name: ClassVar[str] = "psd"
    summary: ClassVar[str] = (
        "progressive self-distillation: cross-modal triplets from labels, then from soft alignments"
    )
    source: ClassVar[str] = "Zeng & Ikeda 2025; loss terms stated, formulas a reading"
    hypers: ClassVar[tuple[Hyper, ...]] = (
        *TRIPLET_HYPERS,
        *DISTILLATION_HYPERS,
        *ENCODER_HYPERS,
        *TRAINING_HYPERS,
    )
    distils: ClassVar[bool] = True

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden, width = int(self.static["hidden_dim"]), int(self.static["embedding_dim"])
        params: Tensors = {}
        buffers: Tensors = {}
        for view, size in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            weights, statistics = init_encoder(generator, size, hidden, width)
            params |= {f"{view}.{name}": value for name, value in weights.items()}
            buffers |= {f"{view}.{name}": value for name, value in statistics.items()}
        params["head.weight"] = init_linear(generator, width, self.num_classes, bias=False)["weight"]
        if self.static.get("teacher") == "ema":
            buffers |= {f"teacher.{name}": value.clone() for name, value in params.items()}
        return params, buffers

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return (
            encoder(params, buffers, "audio.", audio, None),
            encoder(params, buffers, "visual.", visual, None),
        )

    @classmethod
    def lays_out(cls, config: Mapping[str, Value]) -> bool:
        return cls.distils and config["r_schedule"] != "exponential"

    def schedules(self, hyper: Tensors, progress: Progress) -> dict[str, Tensor]:
        """`r` [L]: max(r_min, r_init * r_shrink^t) for the exponential schedule (reading). The linear and the cosine
        one go from r_init to r_init * r_shrink over the trial's epochs and stay there."""
        if not self.distils:
            return {}
        start, shrink = hyper["r_init"], hyper["r_shrink"]
        if self.static["r_schedule"] == "exponential":
            r_L = start * shrink**progress.epoch
        else:
            done_L = (progress.epoch / (progress.epochs - 1).clamp(min=1)).clamp(max=1)
            if self.static["r_schedule"] == "cosine":
                done_L = (1 - torch.cos(math.pi * done_L)) / 2
            r_L = start * (1 - (1 - shrink) * done_L)
        return {"r": torch.maximum(r_L, torch.minimum(hyper["r_min"], start))}

    def after_step(self, params: Tensors, buffers: Tensors, hyper: Tensors) -> None:
        if self.static.get("teacher") == "ema":
            keep_L = hyper["ema_decay"]
            for name, value in params.items():
                buffers[f"teacher.{name}"].lerp_(value, (1 - keep_L).view(-1, *[1] * (value.dim() - 1)))

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        dropout = batch.dropout(hyper["dropout"])
        z_a = encoder(params, buffers, "audio.", batch.audio, dropout)
        z_v = encoder(params, buffers, "visual.", batch.visual, dropout)
        terms = {
            "l_lab": self._labelled(params["head.weight"], z_a, z_v, batch.labels),
            "l_cross": self._cross(params, buffers, batch, hyper, progress, z_a, z_v),
            "l_dis": self._distance(z_a, z_v),
        }
        total = hyper["w_lab"] * terms["l_lab"] + hyper["w_cross"] * terms["l_cross"] + hyper["w_dis"] * terms["l_dis"]
        return {"loss": total, **terms}

    def _labelled(self, head_LDC: Tensor, z_a: Tensor, z_v: Tensor, labels_LB: Tensor) -> Tensor:
        if self.static["label_loss"] == "cross_entropy":
            return label_cross_entropy(head_LDC, z_a, z_v, labels_LB)
        return label_l2(head_LDC, z_a, z_v, labels_LB, self.num_classes)

    def _distance(self, z_a: Tensor, z_v: Tensor) -> Tensor:
        if self.static["distance_loss"] == "pair":
            return pair_distance(z_a, z_v)
        unit_a, unit_v = (F.layer_norm(z.transpose(1, 2), (z.shape[1],)) for z in (z_a, z_v))
        correlation_LDD = torch.bmm(unit_a, unit_v.transpose(1, 2)) / z_a.shape[1]
        energy_L = correlation_LDD.square().sum((1, 2)) - correlation_LDD.diagonal(dim1=1, dim2=2).square().sum(1)
        return energy_L / z_a.shape[-1]

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
        """r * l_tri + (1 - r) * l_soft, the mean of both directions: [L]."""
        distance_av = 1 - cosine(z_a, z_v)
        directions = (distance_av, distance_av.transpose(1, 2).contiguous())
        same = same_class(batch.labels)
        margin = hyper["margin"]
        if not self.distils:
            losses = [self._labelled_triplets(distance, same, margin) for distance in directions]
            return (losses[0] + losses[1]) / 2
        rows = batch.labels.shape[1]
        r_L = self.schedules(hyper, progress)["r"]
        ann = (torch.arange(rows, device=r_L.device) < torch.round(r_L * rows)[:, None]).to(r_L.dtype)
        free = 1 - ann
        num_free = free.sum(1).clamp(min=1)
        free_pairs = free[:, :, None] * free[:, None, :]
        pos, neg, count = _label_weights(same, ann)
        soft = self._soft_labels(params, buffers, batch, hyper, directions, z_a, z_v, free)
        total = torch.zeros_like(r_L)
        for distance, soft_LBB in zip(directions, soft, strict=True):
            # Q_in is 1 - S_in over its sum, which is a factor of the anchor's and applied to the anchor's sum.
            far_LB = (num_free[:, None] - soft_LBB.sum(2)).clamp(min=1e-12)
            weight_LB = ((1 - r_L) / num_free)[:, None] * free / far_LB
            if self.static["mining"] == "all":
                # Annotated rows look only at annotated columns and the others only at the others: one call serves
                # both parts.
                weight_LB = weight_LB + ann * (r_L / count)[:, None]
                sums_LB = weighted_triplets(distance, pos + soft_LBB, neg + free_pairs - soft_LBB, margin)
                total = total + (sums_LB * weight_LB).sum(1)
            else:
                sums_LB = weighted_triplets(distance, soft_LBB, free_pairs - soft_LBB, margin)
                hard_L = self._mined(distance, same, ann > 0, margin)
                total = total + (sums_LB * weight_LB).sum(1) + r_L * hard_L
        return total / 2

    def _labelled_triplets(self, distance: Tensor, same: Tensor, margin: Tensor) -> Tensor:
        """Mean over the valid triplets when every clip is annotated: [L]."""
        everyone = torch.ones(same.shape[:2], dtype=distance.dtype, device=same.device)
        if self.static["mining"] == "all":
            pos, neg, count = _label_weights(same, everyone)
            return weighted_triplets(distance, pos, neg, margin).sum(1) / count
        return self._mined(distance, same, everyone > 0, margin)

    def _mined(self, distance: Tensor, same: Tensor, ann: Tensor, margin: Tensor) -> Tensor:
        """Mean over the hard or semi-hard triplets of the annotated part (bool [L, B]): [L]; 0 for a lane without."""
        both = ann[:, :, None] & ann[:, None, :]
        mine = hard_triplets if self.static["mining"] == "hard" else semihard_triplets
        values, valid = mine(distance, same & both, ~same & both, margin)
        return values.sum(1) / valid.sum(1).clamp(min=1)

    @torch.no_grad()
    def _soft_labels(
        self,
        params: Tensors,
        buffers: Tensors,
        batch: Batch,
        hyper: Tensors,
        directions: tuple[Tensor, Tensor],
        z_a: Tensor,
        z_v: Tensor,
        free_LB: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Soft alignments [L, B, B] of both directions: each unannotated row (1 in `free_LB`, else 0) is a distribution
        over the unannotated columns; annotated rows and columns are 0."""
        head = params["head.weight"]
        if self.static["teacher"] == "ema":
            teacher = {name: buffers[f"teacher.{name}"] for name in params}
            z_a, z_v = self.embed(teacher, buffers, batch.audio, batch.visual)
            head = teacher["head.weight"]
            distance_av = 1 - cosine(z_a, z_v)
            directions = (distance_av, distance_av.transpose(1, 2))
        if self.static["soft_labels"] == "class_probability":
            p_a, p_v = (torch.bmm(z, head).div(hyper["tau"][:, None, None]).softmax(-1) for z in (z_a, z_v))
            agree = torch.bmm(p_a, p_v.transpose(1, 2)) * free_LB[:, :, None] * free_LB[:, None, :]
            soft_av = agree / agree.sum(2, keepdim=True).clamp(min=1e-12)
            soft_va = agree.transpose(1, 2) / agree.sum(1)[:, :, None].clamp(min=1e-12)
        else:
            blocked = (1e9 * (free_LB - 1))[:, None, :]
            # The softmax of -d / tau is that of similarity / tau.
            slope = (-1 / hyper["tau"])[:, None, None]
            soft_av, soft_va = (
                torch.addcmul(blocked, distance, slope).softmax(-1).mul_(free_LB[:, :, None]) for distance in directions
            )
        return (soft_va, soft_av) if self.static["soft_swap"] else (soft_av, soft_va)


def _label_weights(same_LBB: Tensor, ann_LB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positives and negatives by label within the annotated part (1 in `ann_LB`, else 0) as 0/1 weights [L, B, B], and
    the number of valid triplets [L], at least 1."""
    both = ann_LB[:, :, None] * ann_LB[:, None, :]
    pos = same_LBB.to(ann_LB.dtype).mul_(both)
    neg = both.sub_(pos)
    return pos, neg, (pos.sum(2) * neg.sum(2)).sum(1).clamp(min=1)
