"""Two-stage triplet training with augmented embeddings.

Zeng & Ikeda 2023, "Two-Stage Triplet Loss Training with Curriculum Augmentation for Audio-Visual Retrieval". Stated by
the paper: the first stage trains with semi-hard triplets; the second one interpolates embeddings and mines hard
triplets in the augmented space. Which embeddings are interpolated, and how, is our reading of it.

Legend: L lanes, B rows of a batch, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Hyper, Value
from avtune.lanes.modules import Tensors, cosine
from avtune.lanes.noise import random_bytes
from avtune.lanes.triplets import hard_triplets, semihard_triplets
from avtune.methods._base import TRAINING_HYPERS, Batch, Progress, with_defaults
from avtune.methods._losses import same_class
from avtune.methods.psd import ENCODER_HYPERS, TRIPLET_HYPERS
from avtune.methods.triplet import Triplet

Miner = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
_MIXING_STREAM = 1 << 10  # number of the step's noise stream; dropout uses 0, 1, 2, ...


class TwoStage(Triplet):
    """`triplet` with semi-hard triplets, then with hard ones among clips and interpolations of clips (reading).

    Stage 2 adds to the B rows of each view B more, (1 - s) zhat_i + s zhat_j with j a random other clip of i's class
    and s uniform in 0 to `mix`, the same j and s in both views; all 2 B rows are anchors, positives and negatives.
    """

    name: ClassVar[str] = "two_stage"
    summary: ClassVar[str] = "semi-hard cross-modal triplets, then hard ones over interpolated embeddings too"
    source: ClassVar[str] = "Zeng & Ikeda 2023; the two stages stated, the interpolation a reading"
    hypers: ClassVar[tuple[Hyper, ...]] = (
        *with_defaults(tuple(hyper for hyper in TRIPLET_HYPERS if hyper.name != "mining"), w_cross=0.3),
        Hyper("stage_share", "float", 0.5, 0.0, 1.0, doc="share of the schedule that is stage 1; 1: no stage 2"),
        Hyper("mix", "float", 0.5, 0.0, 1.0, doc="largest share of the other clip in an interpolated embedding"),
        *ENCODER_HYPERS,
        *TRAINING_HYPERS,
    )

    @classmethod
    def lays_out(cls, config: Mapping[str, Value]) -> bool:
        return True

    def schedules(self, hyper: Tensors, progress: Progress) -> dict[str, Tensor]:
        """`stage` [L]: 1 in the epochs before stage_share * epochs, then 2, and 2 after the schedule's end; with
        stage_share 1 always 1."""
        share_L = hyper["stage_share"]
        second_L = (progress.epoch >= share_L * progress.epochs) & (share_L < 1)
        return {"stage": 1 + second_L.to(share_L.dtype)}

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
        """The mean of both directions of each lane's stage: [L]. Both stages are computed for every lane."""
        margin, same = hyper["margin"], same_class(batch.labels)
        semihard = _mean_triplets(semihard_triplets, 1 - cosine(z_a, z_v), same, margin)
        others = _others_of_class(same)
        draws = random_bytes(batch.dropout_keys, batch.labels.shape[1], _MIXING_STREAM)
        share_LB1 = (hyper["mix"][:, None] * draws / 255)[..., None]
        more_a, more_v = (_augmented(z, others, share_LB1) for z in (z_a, z_v))
        hard = _mean_triplets(hard_triplets, 1 - cosine(more_a, more_v), same.repeat(1, 2, 2), margin)
        return torch.where(self.schedules(hyper, progress)["stage"] == 1, semihard, hard)


def _mean_triplets(mine: Miner, distance_LBB: Tensor, same_LBB: Tensor, margin_L: Tensor) -> Tensor:
    """Mean over the mined triplets, then over both directions: [L]; 0 for a lane that has none."""
    means = []
    for distance in (distance_LBB, distance_LBB.transpose(1, 2).contiguous()):
        values, valid = mine(distance, same_LBB, ~same_LBB, margin_L)
        means.append(values.sum(1) / valid.sum(1).clamp(min=1))
    return (means[0] + means[1]) / 2


def _others_of_class(same_LBB: Tensor) -> Tensor:
    """int64 [L, B]: for each row the next row of its class, the first after the last; itself if it is the only one.

    Rows come in random order, so this is a random clip of the class.
    """
    rows = torch.arange(same_LBB.shape[1], device=same_LBB.device)
    ahead_BB = (rows[None, :] - rows[:, None] - 1) % len(rows)
    return ahead_BB.expand_as(same_LBB).masked_fill(~same_LBB, len(rows)).argmin(-1)


def _augmented(z_LBD: Tensor, others_LB: Tensor, share_LB1: Tensor) -> Tensor:
    """The unit rows of z, then their interpolations with the others: [L, 2B, D]."""
    unit = F.normalize(z_LBD, dim=-1)
    other = unit.gather(1, others_LB[..., None].expand_as(unit))
    return torch.cat([unit, torch.lerp(unit, other, share_LB1.to(unit.dtype))], 1)
