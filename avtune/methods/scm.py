"""Semantic matching over correlation projections: CCA, then one logistic regression a view on the coordinates.

exact (Rasiwasia et al. 2010, "A New Approach to Cross-Modal Multimedia Retrieval": semantic correlation matching; Costa
Pereira et al. 2014): both views are projected on their canonical directions, a multinomial logistic regression of each
view gives class probabilities from the coordinates, and clips are compared by the cosine of these. Both steps are
solved on all training rows. What was added: a ridge on the covariances and one on the regression's weights, 0 to them;
cluster-CCA as the correlation is an option.

Legend: L lanes, N training rows, K directions (`embedding_dim`), C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Hyper, Value
from avtune.core.relevance import is_multi_label
from avtune.lanes.modules import Tensors, init_linear, label_shares, linear
from avtune.methods._base import with_defaults
from avtune.methods._correlation import Moments, cluster_moments
from avtune.methods.cca import CCA, CCA_HYPERS

_STEPS = 2000
_FLAT = 1e-7
"""Largest component of the gradient at the solution."""
_NEVER = -1e4
"""The logit of a class without training rows."""


class SCM(CCA):
    """Canonical correlation, then a logistic regression a view; embeddings are class probabilities (exact)."""

    name: ClassVar[str] = "scm"
    summary: ClassVar[str] = "CCA, then logistic regression of each view's coordinates; clips are compared by classes"
    source: ClassVar[str] = "Rasiwasia et al. 2010, Costa Pereira et al. 2014 (semantic correlation matching); exact"
    hypers: ClassVar[tuple[Hyper, ...]] = (
        *with_defaults(tuple(hyper for hyper in CCA_HYPERS if hyper.name != "power"), embedding_dim=32),
        Hyper("l2", "float", 1e-3, 1e-8, 1e4, doc="half of it times the squared weights is added to the cross-entropy"),
        Hyper(
            "correlation",
            "choice",
            "clips",
            values=("clips", "classes"),
            static=True,
            doc="CCA over the clips (cca), or over all within-class pairs (c_cca)",
        ),
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        """Random projections and classifiers."""
        params, buffers = super().init(generator)
        for view in ("audio", "visual"):
            made = init_linear(generator, int(self.static["embedding_dim"]), self.num_classes)
            params |= {f"{view}.classifier.{name}": value for name, value in made.items()}
        return params, buffers

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        x_a, x_v = super().embed(params, buffers, audio, visual)
        return _probabilities(params, "audio", x_a), _probabilities(params, "visual", x_v)

    @classmethod
    def width(cls, config: Mapping[str, Value], num_classes: int) -> int:
        return num_classes

    def solve(
        self,
        audio_NA: Tensor,
        visual_NV: Tensor,
        labels_N: Tensor,
        hyper: dict[str, float],
        generator: torch.Generator,
    ) -> tuple[Tensors, Tensors]:
        params, buffers = super().solve(audio_NA, visual_NV, labels_N, {**hyper, "power": 0.0}, generator)
        for view, rows in (("audio", audio_NA), ("visual", visual_NV)):
            weight, bias = params[f"{view}.weight"].double(), params[f"{view}.bias"].double()
            x_NK = rows.cpu().double() @ weight + bias
            solved = softmax_regression(x_NK, labels_N.cpu(), self.num_classes, hyper["l2"])
            params |= {f"{view}.classifier.{name}": value.float() for name, value in solved.items()}
        return params, buffers

    def _moments(self, audio_LBA: Tensor, visual_LBV: Tensor, labels_LB: Tensor) -> Moments:
        if self.static["correlation"] == "classes":
            return cluster_moments(audio_LBA, visual_LBV, labels_LB, self.num_classes)
        return super()._moments(audio_LBA, visual_LBV, labels_LB)


def _probabilities(params: Tensors, view: str, x_LBK: Tensor) -> Tensor:
    logits_LBC = linear(x_LBK, params[f"{view}.classifier.weight"], params[f"{view}.classifier.bias"])
    return logits_LBC.softmax(-1)


def softmax_regression(x_NK: Tensor, labels_N: Tensor, num_classes: int, l2: float) -> Tensors:
    """Multinomial logistic regression: the minimum of mean cross-entropy + l2 / 2 * ||weight||^2, by L-BFGS.

    Args:
        x_NK: float64 [N, K].
        labels_N: int64 [N]; or bool [N, C], whose targets are the same for each label of a row and sum to 1. A class
            without rows gets probability 0.

    Returns:
        `weight` [K, C] and `bias` [C], float64.
    """
    from scipy.optimize import minimize  # here: engines of other methods do without

    if is_multi_label(labels_N):
        there = labels_N.any(0).nonzero()[:, 0]
        place_N = label_shares(labels_N, num_classes, x_NK.dtype)[:, there]
    else:
        there, place_N = torch.unique(labels_N, return_inverse=True)
    shape = (x_NK.shape[1] + 1, len(there))

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        both = torch.tensor(flat).view(shape).requires_grad_()
        with torch.enable_grad():
            loss = F.cross_entropy(x_NK @ both[:-1] + both[-1], place_N) + l2 / 2 * both[:-1].square().sum()
            (grad,) = torch.autograd.grad(loss, both)
        return loss.item(), grad.numpy().ravel()

    limits = {"maxiter": _STEPS, "maxfun": 2 * _STEPS, "gtol": _FLAT, "ftol": 0.0}
    found = minimize(value, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=limits)
    solved = torch.tensor(found.x).view(shape)
    weight, bias = torch.zeros(shape[0] - 1, num_classes).double(), torch.full((num_classes,), _NEVER).double()
    weight[:, there], bias[there] = solved[:-1], solved[-1]
    return {"weight": weight, "bias": bias}
