"""Kernel canonical correlation analysis with Gaussian kernels, by random Fourier features.

exact: CCA with a ridge in the feature space of the kernel (Hardoon et al. 2004), its features replaced by random ones
(Rahimi, Recht 2007; Lopez-Paz et al. 2014): sqrt(2) cos(x w + b) with w normal and b uniform, so that the mean product
of two clips' features is the kernel exp(-|x - y|^2 / (2 s^2)), s = bandwidth * sqrt(features of the view).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Tensors, linear
from avtune.methods.cca import CCA, CCA_HYPERS


class KernelCCA(CCA):
    """CCA of random Fourier features of both views (exact up to the random features)."""

    name: ClassVar[str] = "kcca"
    summary: ClassVar[str] = "kernel CCA of the clips by random Fourier features; closed form, without labels"
    source: ClassVar[str] = "Hardoon et al. 2004, with the features of Rahimi & Recht 2007; exact"
    hypers: ClassVar[tuple[Hyper, ...]] = (
        *CCA_HYPERS,
        Hyper(
            "bandwidth", "float", 5.0, 0.01, 100.0, doc="of the Gaussian kernels, in roots of the view's feature count"
        ),
        Hyper("fourier_dim", "int", 1024, 2, 8192, static=True, doc="random Fourier features of each view"),
    )

    def _width(self, num_features: int) -> int:
        return int(self.static["fourier_dim"])

    def _inputs(self, buffers: Tensors, view: str, x_LBI: Tensor) -> Tensor:
        waves = linear(x_LBI, buffers[f"{view}.frequency"], buffers[f"{view}.phase"])
        return math.sqrt(2) * torch.cos(waves)

    def _init_buffers(self, generator: torch.Generator) -> Tensors:
        return self._solve_buffers({"bandwidth": 1.0}, generator)

    def _solve_buffers(self, hyper: dict[str, float], generator: torch.Generator) -> Tensors:
        buffers: Tensors = {}
        for view, size in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            width = self._width(size)
            spread = 1 / (hyper["bandwidth"] * math.sqrt(size))
            buffers[f"{view}.frequency"] = torch.empty(size, width).normal_(generator=generator) * spread
            buffers[f"{view}.phase"] = torch.empty(width).uniform_(0, 2 * math.pi, generator=generator)
        return buffers
