"""Progressive self-distillation for audio-visual embeddings.

Zeng & Ikeda 2025, "Metric Learning with Progressive Self-Distillation for Audio-Visual Embedding Learning".
Stated by the paper: the loss is a labelled loss, a cross-modal triplet loss and a distance term; each batch is split by
the annotation ratio r; soft alignments of the network's own (gradient stopped) similarities make soft cross-modal
triplets of the unannotated part; r shrinks as training goes on. The formulas below are our reading of it; where
more than one reading is plausible, the others are options.

    loss    = w_lab * l_lab + w_cross * l_cross + w_dis * l_dis
    l_lab   = mean_i ||P z_a,i - onehot(y_i)|| + ||P z_v,i - onehot(y_i)||    (option: cross-entropy)
    l_cross = r * l_tri + (1 - r) * l_soft                                    (see `PSD._cross`)
    l_dis   = mean_i ||z_a,i - z_v,i||                                        (option: decorrelation)

Legend: L lanes, B rows of a batch, D embedding, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Hyper, Value
from avtune.lanes.modules import Tensors, cosine, encoder, init_encoder, init_linear
from avtune.lanes.triplets import hard_triplets, semihard_triplets, weighted_triplets
from avtune.methods._base import TRAINING_HYPERS, Batch, Method, Progress
from avtune.methods._losses import LABEL_SMOOTHING, label_cross_entropy, label_l2, pair_distance, same_class

BLOCK_HYPERS = (
    Hyper("depth", "int", 2, 1, 8, static=True, extra=True, doc="hidden layers of each encoder"),
    Hyper(
        "activation",
        "choice",
        "tanh",
        values=("tanh", "relu", "gelu", "silu"),
        static=True,
        extra=True,
        doc="activation of the hidden layers",
    ),
    Hyper(
        "normalisation",
        "choice",
        "layer",
        values=("layer", "batch", "none"),
        static=True,
        extra=True,
        doc="normalisation of the hidden layers, before the activation",
    ),
)
"""How the hidden layers of an encoder are built, see `lanes.modules.Style`."""
ENCODER_HYPERS = (
    Hyper("embedding_dim", "int", 64, 2, 4096, static=True, doc="width D of the embeddings"),
    Hyper("hidden_dim", "int", 1024, 8, 16384, static=True, doc="width of the hidden layers of each encoder"),
    Hyper("dropout", "float", 0.2, 0.0, 0.9, doc="dropout after each hidden layer, in steps of 1/256"),
    *BLOCK_HYPERS,
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
    LABEL_SMOOTHING,
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
    Hyper("r_min", "float", 0.0, 0.0, 1.0, doc="smallest annotation ratio; r_init where that is smaller"),
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
    multi_label: ClassVar[bool] = True
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
            weights, statistics = init_encoder(generator, size, hidden, width, self.style)
            params |= {f"{view}.{name}": value for name, value in weights.items()}
            buffers |= {f"{view}.{name}": value for name, value in statistics.items()}
        params["head.weight"] = init_linear(generator, width, self.num_classes, bias=False)["weight"]
        if self.static.get("teacher") == "ema":
            buffers |= {f"teacher.{name}": value.clone() for name, value in params.items()}
        return params, buffers

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return (
            encoder(params, buffers, "audio.", audio, None, self.style),
            encoder(params, buffers, "visual.", visual, None, self.style),
        )

    @classmethod
    def lays_out(cls, config: Mapping[str, Value]) -> bool:
        return (cls.distils and config["r_schedule"] != "exponential") or super().lays_out(config)

    def schedules(self, hyper: Tensors, progress: Progress) -> dict[str, Tensor]:
        """`r` [L]: r_init * r_shrink^t for the exponential schedule (reading). The linear and the cosine one go from
        r_init to r_init * r_shrink over the trial's epochs and stay there. No r is below r_min, or below r_init where
        that is the smaller one: r never rises."""
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
        z_a = encoder(params, buffers, "audio.", batch.audio, dropout, self.style)
        z_v = encoder(params, buffers, "visual.", batch.visual, dropout, self.style)
        terms = {
            "l_lab": self._labelled(params["head.weight"], z_a, z_v, batch.labels, hyper),
            "l_cross": self._cross(params, buffers, batch, hyper, progress, z_a, z_v),
            "l_dis": self._distance(z_a, z_v),
        }
        total = hyper["w_lab"] * terms["l_lab"] + hyper["w_cross"] * terms["l_cross"] + hyper["w_dis"] * terms["l_dis"]
        return {"loss": total, **terms}

    def _labelled(self, head_LDC: Tensor, z_a: Tensor, z_v: Tensor, labels_LB: Tensor, hyper: Tensors) -> Tensor:
        smoothing_L = hyper["label_smoothing"]
        if self.static["label_loss"] == "cross_entropy":
            return label_cross_entropy(head_LDC, z_a, z_v, labels_LB, smoothing_L)
        return label_l2(head_LDC, z_a, z_v, labels_LB, self.num_classes, smoothing_L)

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
        """l_cross = r * l_tri + (1 - r) * l_soft, the mean of both directions: [L] (reading).

        With A the annotated rows of the batch, U the others, d the cosine distance of an anchor to the other view, and
        S the soft alignments of `_soft_labels`:

            l_tri  = mean over the valid triplets (i, p, n) within A of [d_ip - d_in + margin]_+
            l_soft = mean over i in U of sum_p,n in U of S_ip Q_in [d_ip - d_in + margin]_+
            Q_in   = (1 - S_in) / sum_k in U (1 - S_ik)

        Without distillation all rows are annotated, and l_cross is l_tri.
        """
        distance_LBB = 1 - cosine(z_a, z_v)
        directions = (distance_LBB, distance_LBB.transpose(1, 2).contiguous())
        same_LBB = same_class(batch.labels)
        if not self.distils:
            a2v_L, v2a_L = (self._labelled_triplets(d_LBB, same_LBB, hyper["margin"]) for d_LBB in directions)
            return (a2v_L + v2a_L) / 2
        r_L = self.schedules(hyper, progress)["r"]
        parts = self._parts(r_L, batch)
        soft = self._soft_labels(params, buffers, batch, hyper, directions, z_a, z_v, parts.free_LB)
        total_L = torch.zeros_like(r_L)
        for d_LBB, soft_LBB in zip(directions, soft, strict=True):
            for term_L in self._distilled_triplets(d_LBB, soft_LBB, same_LBB, parts, r_L, hyper["margin"]):
                total_L = total_L + term_L
        return total_L / 2

    def _parts(self, r_L: Tensor, batch: Batch) -> _Parts:
        """Which rows of the batch are annotated."""
        return _Parts.of(r_L, batch.labels.shape[1])

    def _distilled_triplets(
        self, d_LBB: Tensor, soft_LBB: Tensor, same_LBB: Tensor, parts: _Parts, r_L: Tensor, margin_L: Tensor
    ) -> list[Tensor]:
        """Terms [L] that add up to r * l_tri + (1 - r) * l_soft of one direction."""
        # Q_in is 1 - S_in over a sum that depends on the anchor i alone: it divides the anchor's sum of triplets.
        sum_LB = (parts.num_free_L[:, None] - soft_LBB.sum(2)).clamp(min=1e-12)
        weight_LB = ((1 - r_L) / parts.num_free_L)[:, None] * parts.free_LB / sum_LB
        free_LBB = parts.free_LB[:, :, None] * parts.free_LB[:, None, :]
        if self.static["mining"] != "all":
            soft_LB = weighted_triplets(d_LBB, soft_LBB, free_LBB - soft_LBB, margin_L)
            tri_L = self._mined(d_LBB, same_LBB, parts.annotated_LB > 0, margin_L)
            return [(soft_LB * weight_LB).sum(1), r_L * tri_L]
        # An anchor in A has triplets within A only, one in U within U only: one call takes both.
        pos_LBB, neg_LBB, num_triplets_L = _label_weights(same_LBB, parts.annotated_LB)
        weight_LB = weight_LB + parts.annotated_LB * (r_L / num_triplets_L)[:, None]
        both_LB = weighted_triplets(d_LBB, pos_LBB + soft_LBB, neg_LBB + free_LBB - soft_LBB, margin_L)
        return [(both_LB * weight_LB).sum(1)]

    def _labelled_triplets(self, d_LBB: Tensor, same_LBB: Tensor, margin_L: Tensor) -> Tensor:
        """l_tri when every row is annotated: [L]."""
        everyone_LB = torch.ones(same_LBB.shape[:2], dtype=d_LBB.dtype, device=same_LBB.device)
        if self.static["mining"] == "all":
            pos_LBB, neg_LBB, num_triplets_L = _label_weights(same_LBB, everyone_LB)
            return weighted_triplets(d_LBB, pos_LBB, neg_LBB, margin_L).sum(1) / num_triplets_L
        return self._mined(d_LBB, same_LBB, everyone_LB > 0, margin_L)

    def _mined(self, d_LBB: Tensor, same_LBB: Tensor, annotated_LB: Tensor, margin_L: Tensor) -> Tensor:
        """Mean over the hard or semi-hard triplets of the annotated rows (bool): [L]; 0 for a lane without."""
        both_LBB = annotated_LB[:, :, None] & annotated_LB[:, None, :]
        mine = hard_triplets if self.static["mining"] == "hard" else semihard_triplets
        values_LB, valid_LB = mine(d_LBB, same_LBB & both_LBB, ~same_LBB & both_LBB, margin_L)
        return values_LB.sum(1) / valid_LB.sum(1).clamp(min=1)

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
        """S [L, B, B] of both directions, with the gradient stopped: each row of U (1 in `free_LB`) is a distribution
        over the columns of U; rows and columns of A are 0.

            similarity:         S_ij = softmax over j of cos(z_i, z_j) / tau
            class_probability:  S_ij = p_i . p_j / sum_k p_i . p_k,  p = softmax(P z / tau)
        """
        head_LDC = params["head.weight"]
        if self.static["teacher"] == "ema":
            teacher = {name: buffers[f"teacher.{name}"] for name in params}
            z_a, z_v = self.embed(teacher, buffers, batch.audio, batch.visual)
            head_LDC = teacher["head.weight"]
            distance_LBB = 1 - cosine(z_a, z_v)
            directions = (distance_LBB, distance_LBB.transpose(1, 2))
        if self.static["soft_labels"] == "class_probability":
            p_a_LBC, p_v_LBC = (torch.bmm(z, head_LDC).div(hyper["tau"][:, None, None]).softmax(-1) for z in (z_a, z_v))
            agree_LBB = torch.bmm(p_a_LBC, p_v_LBC.transpose(1, 2)) * free_LB[:, :, None] * free_LB[:, None, :]
            soft_av = agree_LBB / agree_LBB.sum(2, keepdim=True).clamp(min=1e-12)
            soft_va = agree_LBB.transpose(1, 2) / agree_LBB.sum(1)[:, :, None].clamp(min=1e-12)
        else:
            # Columns of A get a logit of -1e9. The softmax of -d / tau is that of cos / tau, as d = 1 - cos.
            blocked_L1B = (1e9 * (free_LB - 1))[:, None, :]
            slope_L11 = (-1 / hyper["tau"])[:, None, None]
            soft_av, soft_va = (
                torch.addcmul(blocked_L1B, d_LBB, slope_L11).softmax(-1).mul_(free_LB[:, :, None])
                for d_LBB in directions
            )
        return (soft_va, soft_av) if self.static["soft_swap"] else (soft_av, soft_va)


@dataclass(frozen=True)
class _Parts:
    """The annotated rows A and the others U of a batch. Rows come in random order: A is the first ones.

    Attributes:
        annotated_LB: 1 for rows of A, else 0.
        free_LB: 1 for rows of U, else 0.
        num_free_L: rows of U, at least 1.
    """

    annotated_LB: Tensor
    free_LB: Tensor
    num_free_L: Tensor

    @classmethod
    def of(cls, r_L: Tensor, rows: int) -> _Parts:
        """The parts for annotation ratios."""
        annotated_LB = (torch.arange(rows, device=r_L.device) < torch.round(r_L * rows)[:, None]).to(r_L.dtype)
        free_LB = 1 - annotated_LB
        return cls(annotated_LB, free_LB, free_LB.sum(1).clamp(min=1))


def _label_weights(same_LBB: Tensor, annotated_LB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positives and negatives by label within the annotated rows (1 in `annotated_LB`, else 0) as weights of 0 and 1
    [L, B, B], and the number of valid triplets [L], at least 1."""
    both_LBB = annotated_LB[:, :, None] * annotated_LB[:, None, :]
    pos_LBB = same_LBB.to(annotated_LB.dtype).mul_(both_LBB)
    neg_LBB = both_LBB.sub_(pos_LBB)
    return pos_LBB, neg_LBB, (pos_LBB.sum(2) * neg_LBB.sum(2)).sum(1).clamp(min=1)
