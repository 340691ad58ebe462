"""Deep canonical correlation analysis (Andrew et al. 2013), of the clips and of all within-class pairs.

exact: the loss is minus the sum of the `embedding_dim` largest canonical correlations of the two networks' outputs over
the batch; linear CCA of the outputs follows. `c_dcca` correlates w * (over the clips) + (1 - w) * (over all
within-class pairs), the mixture of the public code of C-DCCA and TNN-C-CCA (Zeng et al. 2018, 2020). The encoders are
those of `psd`; when and on what the linear step is solved is a reading, see `_running_cca`.

Legend: L lanes, B rows of a batch, D outputs of a network.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Dropout, Tensors, encoder, init_encoder
from avtune.methods._base import NO_AVERAGE, Batch, Method, Progress, with_defaults
from avtune.methods._correlation import class_sums, mixed_moments, top_correlations
from avtune.methods._running_cca import init_running, project, remember, settle
from avtune.methods.psd import ENCODER_HYPERS

DCCA_HYPERS = (
    Hyper("ridge", "float", 1.0, 1e-8, 1e4, doc="added to the variances of the outputs; published code: 1e-4"),
    Hyper("extra_dim", "int", 0, 0, 4096, static=True, doc="outputs of each network beyond embedding_dim"),
    *with_defaults(ENCODER_HYPERS, embedding_dim=10, dropout=0.5),
    *with_defaults(NO_AVERAGE, lr=3e-4, batch_size=512),
)


class DCCA(Method):
    """Networks whose outputs correlate over the clips, then linear CCA (exact)."""

    name: ClassVar[str] = "dcca"
    summary: ClassVar[str] = "deep CCA: the networks' outputs correlate over the clips, without labels"
    source: ClassVar[str] = "Andrew et al. 2013; exact"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = DCCA_HYPERS

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden, width = int(self.static["hidden_dim"]), self._rank + int(self.static["extra_dim"])
        params: Tensors = {}
        buffers = init_running(self.num_classes, width)
        for view, size in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            weights, statistics = init_encoder(generator, size, hidden, width, self.style)
            params |= {f"{view}.{name}": value for name, value in weights.items()}
            buffers |= {f"{view}.{name}": value for name, value in statistics.items()}
        return params, buffers

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return project(buffers, *self._outputs(params, buffers, audio, visual, None), self._rank)

    def settled(self, params: Tensors, buffers: Tensors) -> Tensors:
        return settle(buffers, self._rank)

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        z_a, z_v = self._outputs(params, buffers, batch.audio, batch.visual, batch.dropout(hyper["dropout"]))
        weight_L = self._pair_weight(hyper)
        sums = class_sums(z_a.double(), z_v.double(), batch.labels, self.num_classes)
        total_L = top_correlations(mixed_moments(sums, weight_L), hyper["ridge"], self._rank).to(z_a.dtype)
        with torch.no_grad():
            settled = self._outputs(params, buffers, batch.audio, batch.visual, None)
        remember(buffers, *settled, batch.labels, hyper["ridge"], weight_L)
        return {"loss": -total_L, "correlation": total_L.detach() / self._rank}

    def _outputs(
        self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor]:
        """[L, B, D] of both networks."""
        return (
            encoder(params, buffers, "audio.", audio, dropout, self.style),
            encoder(params, buffers, "visual.", visual, dropout, self.style),
        )

    def _pair_weight(self, hyper: Tensors) -> Tensor:
        """[L]: the clips' share in the covariance of the views, against all within-class pairs'."""
        return torch.ones_like(hyper["ridge"])

    @property
    def _rank(self) -> int:
        return int(self.static["embedding_dim"])


class ClusterDCCA(DCCA):
    """Networks whose outputs correlate over all within-class pairs, then linear cluster-CCA (exact)."""

    name: ClassVar[str] = "c_dcca"
    summary: ClassVar[str] = "cluster deep CCA: the networks' outputs correlate over all within-class pairs"
    source: ClassVar[str] = "Zeng et al. 2018; exact"
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper(
            "pair_weight",
            "float",
            0.2,
            0.0,
            1.0,
            doc="share of the clips in the covariance of the views; the rest is of all within-class pairs",
        ),
        *with_defaults(DCCA_HYPERS, ridge=1e-4, embedding_dim=16, batch_size=256),
    )

    def _pair_weight(self, hyper: Tensors) -> Tensor:
        return hyper["pair_weight"]
