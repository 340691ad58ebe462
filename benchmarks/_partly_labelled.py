"""`psd` on training clips of which some have no label. The product takes labels for every clip; this is how the method
reads where they are missing.

The last class stands for "no label". A clip of it has no part in the labelled loss and is never annotated: it belongs
to the unannotated part U of its batch, whose triplets come from soft alignments. The other rows are annotated as in
`psd`, where they are among the first r of the batch. `l_dis` needs no label and takes all rows (reading).

Legend: L lanes, B rows of a batch, D embedding, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from avtune.core.hyper import Value
from avtune.lanes.modules import Tensors
from avtune.methods import METHODS
from avtune.methods._base import Batch
from avtune.methods.psd import PSD

NAME = "psd_partly_labelled"


class PartlyLabelledPSD(PSD):
    """`psd` where the last class stands for clips without a label (reading)."""

    name: ClassVar[str] = NAME
    multi_label: ClassVar[bool] = False

    def __init__(self, static: Mapping[str, Value], audio_dim: int, visual_dim: int, num_classes: int) -> None:
        super().__init__(static, audio_dim, visual_dim, num_classes - 1)

    def _labelled(self, head_LDC: Tensor, z_a: Tensor, z_v: Tensor, labels_LB: Tensor, hyper: Tensors) -> Tensor:
        """The labelled loss, its mean over the rows that have a label."""
        has_LB = self._has_label(labels_LB, z_a)
        share_L = has_LB.mean(1).clamp(min=1 / has_LB.shape[1])
        # A row without a label has the target 0 (its class is beyond the last one), and its prediction is 0 here.
        return super()._labelled(head_LDC, z_a * has_LB[..., None], z_v * has_LB[..., None], labels_LB, hyper) / share_L

    def _parts(self, r_L: Tensor, batch: Batch) -> Any:
        parts = super()._parts(r_L, batch)
        annotated_LB = parts.annotated_LB * self._has_label(batch.labels, r_L)
        free_LB = 1 - annotated_LB
        return replace(parts, annotated_LB=annotated_LB, free_LB=free_LB, num_free_L=free_LB.sum(1).clamp(min=1))

    def _has_label(self, labels_LB: Tensor, like: Tensor) -> Tensor:
        return (labels_LB < self.num_classes).to(like.dtype)


def register() -> None:
    """Makes the method known in this process; the product's registry does not have it."""
    METHODS[NAME] = PartlyLabelledPSD
