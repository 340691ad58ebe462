"""One classifier a view; clips are compared by the cosine of their class probabilities: semantic matching.

exact: each view's network is trained by itself with the cross-entropy of the labels, and a clip's embedding is the
vector of its class probabilities (Rasiwasia et al. 2010, "A New Approach to Cross-Modal Multimedia Retrieval"; Costa
Pereira et al. 2014, "On the Role of Correlation and Abstraction in Cross-Modal Multimedia Retrieval", who compare by
cosine among others). There the classifier is logistic regression of hand-made features; here it is the encoder of
`psd` with one output a class. Nothing pulls the views together: the baseline of all that is learned across views.

Legend: L lanes, B rows of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Hyper, Value
from avtune.lanes.modules import Tensors, encoder, init_encoder, of_labels
from avtune.methods._base import TRAINING_HYPERS, Batch, Method, Progress
from avtune.methods.psd import ENCODER_HYPERS


class Classifiers(Method):
    """Cross-entropy of each view's own classifier; embeddings are class probabilities (exact)."""

    name: ClassVar[str] = "classifiers"
    summary: ClassVar[str] = "one classifier a view, trained alone; clips are compared by their class probabilities"
    source: ClassVar[str] = "Rasiwasia et al. 2010, Costa Pereira et al. 2014 (semantic matching); exact"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("label_smoothing", "float", 0.0, 0.0, 0.9, doc="share of each label that is spread over all classes"),
        *(hyper for hyper in ENCODER_HYPERS if hyper.name != "embedding_dim"),
        *TRAINING_HYPERS,
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden = int(self.static["hidden_dim"])
        params: Tensors = {}
        buffers: Tensors = {}
        for view, size in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            weights, statistics = init_encoder(generator, size, hidden, self.num_classes, self.style)
            params |= {f"{view}.{name}": value for name, value in weights.items()}
            buffers |= {f"{view}.{name}": value for name, value in statistics.items()}
        return params, buffers

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return (
            encoder(params, buffers, "audio.", audio, None, self.style).softmax(-1),
            encoder(params, buffers, "visual.", visual, None, self.style).softmax(-1),
        )

    @classmethod
    def width(cls, config: Mapping[str, Value], num_classes: int) -> int:
        return num_classes

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        dropout = batch.dropout(hyper["dropout"])
        terms = {}
        for view, x_LBI in (("audio", batch.audio), ("visual", batch.visual)):
            logits_LBC = encoder(params, buffers, f"{view}.", x_LBI, dropout, self.style)
            terms[f"l_{view}"] = _cross_entropy(logits_LBC, batch.labels, hyper["label_smoothing"])
        return {"loss": terms["l_audio"] + terms["l_visual"], **terms}


def _cross_entropy(logits_LBC: Tensor, labels_LB: Tensor, smoothing_L: Tensor) -> Tensor:
    """Mean cross-entropy to the smoothed labels (1 - s) onehot(y) + s / C (Szegedy et al. 2016): [L]. Of several
    labels a clip, the target is the same for each of them."""
    log_p_LBC = F.log_softmax(logits_LBC, dim=-1)
    own_L = of_labels(log_p_LBC, labels_LB)[..., None].mean((1, 2))
    return -(1 - smoothing_L) * own_L - smoothing_L * log_p_LBC.mean((1, 2))
