"""Canonical correlation analysis of the two views of a clip (Hotelling 1936) with a ridge on both covariances.

exact: the directions of the largest correlations over the clips; retrieval by cosine of the coordinates.

Legend: L lanes, B rows, N training rows, K directions (`embedding_dim`).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Tensors, linear
from avtune.methods._closed_form import ClosedForm
from avtune.methods._correlation import Moments, class_sums, directions, mixed_moments

CCA_HYPERS = (
    Hyper("ridge", "float", 1.0, 1e-6, 1e4, doc="added to the variances of both views; their features have variance 1"),
    Hyper(
        "power",
        "float",
        0.0,
        0.0,
        16.0,
        doc="directions are scaled by their correlation to this power; 0 is plain CCA (Gong et al. 2014 use 4)",
    ),
    Hyper(
        "embedding_dim",
        "int",
        10,
        1,
        4096,
        static=True,
        doc="directions kept; those beyond the features of the smaller view are zero",
    ),
)


class CCA(ClosedForm):
    """Linear projections of both views whose coordinates correlate most over the clips (exact)."""

    name: ClassVar[str] = "cca"
    summary: ClassVar[str] = "canonical correlation analysis of the clips; closed form, without labels"
    source: ClassVar[str] = "Hotelling 1936; exact"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = CCA_HYPERS

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        """Random projections."""
        rank = int(self.static["embedding_dim"])
        params: Tensors = {}
        for view, width in (("audio", self._width(self.audio_dim)), ("visual", self._width(self.visual_dim))):
            params[f"{view}.weight"] = torch.empty(width, rank).normal_(0, width**-0.5, generator=generator)
            params[f"{view}.bias"] = torch.zeros(rank)
        return params, self._init_buffers(generator)

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return (
            linear(self._inputs(buffers, "audio", audio), params["audio.weight"], params["audio.bias"]),
            linear(self._inputs(buffers, "visual", visual), params["visual.weight"], params["visual.bias"]),
        )

    def solve(
        self,
        audio_NA: Tensor,
        visual_NV: Tensor,
        labels_N: Tensor,
        hyper: dict[str, float],
        generator: torch.Generator,
    ) -> tuple[Tensors, Tensors]:
        buffers = self._solve_buffers(hyper, generator)
        one = {name: value[None].double() for name, value in buffers.items()}
        audio, visual = (
            self._inputs(one, view, rows.cpu().double()[None])
            for view, rows in (("audio", audio_NA), ("visual", visual_NV))
        )
        moments = self._moments(audio, visual, labels_N.cpu()[None])
        ridge = torch.tensor([hyper["ridge"]], dtype=torch.float64)
        w_a, w_v, correlation = directions(moments, ridge, int(self.static["embedding_dim"]))
        scale = correlation[:, None] ** hyper["power"]
        params: Tensors = {}
        for view, weight, mean in (("audio", w_a * scale, moments.mean_a), ("visual", w_v * scale, moments.mean_v)):
            params[f"{view}.weight"] = weight[0].float()
            params[f"{view}.bias"] = -(mean @ weight[0])[0].float()
        return params, buffers

    def _moments(self, audio_LBA: Tensor, visual_LBV: Tensor, labels_LB: Tensor) -> Moments:
        sums = class_sums(audio_LBA, visual_LBV, labels_LB, self.num_classes)
        return mixed_moments(sums, torch.ones(len(labels_LB)))

    def _width(self, num_features: int) -> int:
        """Columns of `_inputs` for a view of so many features."""
        return num_features

    def _inputs(self, buffers: Tensors, view: str, x_LBI: Tensor) -> Tensor:
        """What is correlated, of one view's features."""
        return x_LBI

    def _init_buffers(self, generator: torch.Generator) -> Tensors:
        return {}

    def _solve_buffers(self, hyper: dict[str, float], generator: torch.Generator) -> Tensors:
        return {}
