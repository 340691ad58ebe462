"""Supervised contrastive loss across the views.

Khosla et al. 2020, "Supervised Contrastive Learning". exact: equation 2 of the paper (its L_out: the mean over an
anchor's positives lies outside of the logarithm), with cosine similarities and a temperature. The paper contrasts two
augmentations of an image; here a clip's two views take their place. By default an anchor meets the other view only,
which is what is asked of retrieval; `contrast: all` is the paper's set, all other embeddings of the batch in either
view. The encoders are those of `psd`.

Legend: L lanes, B rows of a batch, M = 2 B embeddings, D embedding.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Tensors, cosine
from avtune.methods._base import TRAINING_HYPERS, Batch, Progress
from avtune.methods._losses import same_class
from avtune.methods._two_encoders import TwoEncoders
from avtune.methods.psd import ENCODER_HYPERS


class SupCon(TwoEncoders):
    """Cross-entropy of an anchor's similarities to all clips of its class (exact)."""

    name: ClassVar[str] = "supcon"
    summary: ClassVar[str] = "supervised contrastive loss: all clips of an anchor's class in the other view are right"
    source: ClassVar[str] = "Khosla et al. 2020; exact"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("tau", "float", 0.1, 0.01, 10.0, doc="temperature of the cosine similarities (0.1)"),
        Hyper(
            "contrast",
            "choice",
            "across",
            values=("across", "all"),
            static=True,
            doc="what an anchor is compared with: the other view, or all other embeddings of the batch (the paper)",
        ),
        *ENCODER_HYPERS,
        *TRAINING_HYPERS,
    )

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        z_a, z_v = self.trained(params, buffers, batch, hyper)
        tau_L11 = hyper["tau"][:, None, None]
        if self.static["contrast"] == "across":
            logits_LBB, same_LBB = cosine(z_a, z_v) / tau_L11, same_class(batch.labels)
            terms = {
                "l_audio": _contrast(logits_LBB, same_LBB).mean(1),
                "l_visual": _contrast(logits_LBB.transpose(1, 2), same_LBB).mean(1),
            }
        else:
            z_LMD, labels_LM = torch.cat([z_a, z_v], 1), torch.cat([batch.labels, batch.labels], 1)
            self_MM = torch.eye(labels_LM.shape[1], dtype=torch.bool, device=labels_LM.device)
            by_anchor_LM = _contrast(cosine(z_LMD, z_LMD) / tau_L11, same_class(labels_LM) & ~self_MM, self_MM)
            audio_LB, visual_LB = by_anchor_LM.chunk(2, 1)
            terms = {"l_audio": audio_LB.mean(1), "l_visual": visual_LB.mean(1)}
        return {"loss": (terms["l_audio"] + terms["l_visual"]) / 2, **terms}


def _contrast(logits_LMM: Tensor, right_LMM: Tensor, left_out_MM: Tensor | None = None) -> Tensor:
    """Of every anchor (row), the mean over its positives p of log sum_j exp(s_j) - s_p: [L, M].

    Args:
        logits_LMM: similarities by temperature.
        right_LMM: the positives, at least one a row.
        left_out_MM: columns that are in no sum, row by row.
    """
    right_LMM = right_LMM.to(logits_LMM.dtype)
    mean_LM = (logits_LMM * right_LMM).sum(2) / right_LMM.sum(2)
    if left_out_MM is not None:
        logits_LMM = logits_LMM.masked_fill(left_out_MM, -torch.inf)
    return logits_LMM.logsumexp(2) - mean_LM
