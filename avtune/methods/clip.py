"""Contrastive language-image pre-training's loss (Radford et al. 2021) on the audio and the visual view of a clip.

exact: a symmetric cross-entropy over the batch's cosine similarities times a learned scale, in which a clip's own other
view is the right answer. Labels are not used. The scale starts at 1 / tau and is kept at or below 100. The encoders are
those of `psd`.

Legend: L lanes, B rows of a batch.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Tensors, cosine
from avtune.methods._base import TRAINING_HYPERS, Batch, Progress, with_defaults
from avtune.methods._two_encoders import TwoEncoders
from avtune.methods.psd import ENCODER_HYPERS

LARGEST_SCALE = 100.0


class CLIP(TwoEncoders):
    """Symmetric InfoNCE over the pairs of a batch, with a learned temperature (exact)."""

    name: ClassVar[str] = "clip"
    summary: ClassVar[str] = "contrastive loss over the pairs of a batch with a learned temperature, without labels"
    source: ClassVar[str] = "Radford et al. 2021; exact"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("tau", "float", 0.2, 0.01, 10.0, doc="temperature at the start; it is learned from there on"),
        *with_defaults(ENCODER_HYPERS, dropout=0.5),
        *with_defaults(TRAINING_HYPERS, lr=2e-4, batch_size=512),
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        params, buffers = super().init(generator)
        # The logarithm of scale * tau, so that it does not depend on the lane's tau.
        params["log_scale"] = torch.zeros(1)
        return params, buffers

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        z_a, z_v = self.trained(params, buffers, batch, hyper)
        scale_L = params["log_scale"][:, 0].exp() / hyper["tau"]
        logits = cosine(z_a, z_v) * scale_L[:, None, None]
        terms = {"l_a2v": _own_pair(logits), "l_v2a": _own_pair(logits.transpose(1, 2))}
        return {"loss": (terms["l_a2v"] + terms["l_v2a"]) / 2, **terms}

    def after_step(self, params: Tensors, buffers: Tensors, hyper: Tensors) -> None:
        log_scale = params["log_scale"]
        log_scale.copy_(torch.minimum(log_scale, math.log(LARGEST_SCALE) + hyper["tau"][:, None].log()))


def _own_pair(logits_LBB: Tensor) -> Tensor:
    """Mean cross-entropy of each row's own column: [L]."""
    own_LB = logits_LBB.diagonal(dim1=1, dim2=2)
    return (logits_LBB.logsumexp(2) - own_LB).mean(1)
