"""Mixup of features within a class: a clip's features move towards those of another clip of its class.

Zhang et al. 2018, "mixup", mixes any two examples and their labels. A triplet or a contrastive loss has no use for half
a label, so here both are of one class (as Verma et al. 2019, "Manifold Mixup", and others do within classes), and the
label stays what it is. The same clip and the same share for both views: they still belong together.

Legend: L lanes, B rows of a batch, I features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avtune.core.relevance import is_multi_label, relevance
from avtune.lanes.noise import random_bytes

STREAM = 7001
"""Of the step's noise; no other use has it."""


def class_partners(labels_LB: Tensor, keys_L: Tensor) -> Tensor:
    """int64 [L, B]: for each row a random one of its class; itself if it is the only one. Each row is taken once.
    Where clips have several labels, the next one in a random order that shares a label.

    Args:
        labels_LB: int64, or bool [L, B, C].
        keys_L: of the step's noise, see `noise.step_keys`.
    """
    lanes, rows = labels_LB.shape[:2]
    place = torch.arange(rows, device=labels_LB.device).expand(lanes, rows)
    noise = random_bytes(keys_L, 2 * rows, STREAM).view(lanes, rows, 2).long()
    if is_multi_label(labels_LB):
        turn_LB = ((noise[..., 0] * 256 + noise[..., 1]) * rows + place).argsort(1).argsort(1)
        ahead_LBB = (turn_LB[:, None, :] - turn_LB[:, :, None] - 1) % rows  # the row itself comes last
        return ahead_LBB.masked_fill(~relevance(labels_LB, labels_LB), rows).argmin(-1)
    order = ((labels_LB * 65536 + noise[..., 0] * 256 + noise[..., 1]) * rows + place).argsort(1)
    sorted_labels = labels_LB.gather(1, order)
    starts = torch.ones_like(sorted_labels, dtype=torch.bool)
    starts[:, 1:] = sorted_labels[:, 1:] != sorted_labels[:, :-1]
    first = torch.where(starts, place, 0).cummax(1).values
    ends = starts.roll(-1, 1)
    ends[:, -1] = True
    following = torch.where(ends, first, place + 1)
    return torch.empty_like(order).scatter_(1, order, order.gather(1, following))


def mixed(views: tuple[Tensor, Tensor], labels_LB: Tensor, keys_L: Tensor, most_L: Tensor) -> tuple[Tensor, Tensor]:
    """Both views [L, B, I] with (1 - s) x_i + s x_j in place of row i: j a random row of its class, s uniform from 0 to
    the lane's `most_L`, in 256 steps."""
    partners = class_partners(labels_LB, keys_L)
    draws = random_bytes(keys_L, labels_LB.shape[1], STREAM + 1).to(most_L.dtype)
    share_LB1 = (most_L[:, None] * draws / 255)[..., None]
    audio, visual = (torch.lerp(x, x.gather(1, partners[..., None].expand_as(x)), share_LB1.to(x.dtype)) for x in views)
    return audio, visual
