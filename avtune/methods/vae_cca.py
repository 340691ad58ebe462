"""A variational autoencoder shared by both views, with label, correlation and centre terms (Zhang et al. 2022).

exact, after the public code: a layer of each view's own, then layers that the views share give mean and log-variance; a
sample of them is decoded by a shared layer and one of each view's own. With e the samples and mu the means:

    l_vae     mean squared error of the reconstruction + KL, summed over the batch and the dimensions, of both views
    l_lab     mean_i ||P e_a,i - onehot(y_i)||_2 + ||P e_v,i - onehot(y_i)||_2
    l_corr    likelihood of the class links by cos / 2 of the row-centred samples, over (aa, av, vv)
    l_dis     mean_i ||e_a,i - e_v,i||_2
    l_center  mean_i ||e_i - c_y||^2 / (clips of class y in the batch) / 8, of both views
    loss      w_vae * l_vae + l_lab + w_corr * l_corr + w_dis * l_dis + w_center * l_center

The public code draws the centres c anew, normal, in every step (`centers: drawn`); learned ones, which the name
suggests, are an option. The reconstruction of float features and the KL summed over the batch follow it too. Retrieval
uses mu.

Legend: L lanes, B rows of a batch, D embedding, C classes.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.core.relevance import is_multi_label
from avtune.lanes.modules import Tensors, init_linears, linear, of_labels, one_hot
from avtune.methods._base import TRAINING_HYPERS, Batch, Method, Progress
from avtune.methods._gaussian import gaussian
from avtune.methods._losses import LABEL_SMOOTHING, correlation_likelihood, label_l2, pair_distance, same_class

_AUDIO_STREAM, _VISUAL_STREAM, _CENTER_STREAM = 0, 1, 2


class VAECCA(Method):
    """Shared variational autoencoder + labels + correlation likelihood + distance of pairs + centre loss (exact)."""

    name: ClassVar[str] = "vae_cca"
    summary: ClassVar[str] = "shared variational autoencoder with label, correlation, pair and centre terms"
    source: ClassVar[str] = "Zhang et al. 2022; exact"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("w_vae", "float", 1e-4, 0.0, 1000.0, doc="weight of reconstruction and KL (l_lab has weight 1)"),
        Hyper("w_corr", "float", 1e-3, 0.0, 1000.0, doc="weight of the correlation likelihood"),
        Hyper("w_dis", "float", 0.1, 0.0, 1000.0, doc="weight of the distance between the two views of a clip"),
        Hyper("w_center", "float", 0.01, 0.0, 1000.0, doc="weight of the centre loss"),
        Hyper(
            "centers",
            "choice",
            "drawn",
            values=("drawn", "learned"),
            static=True,
            doc="class centres of the centre loss: drawn anew in each step, or learned",
        ),
        Hyper("embedding_dim", "int", 64, 2, 4096, static=True, doc="width D of the latent space"),
        Hyper("hidden_dim", "int", 512, 8, 16384, static=True, doc="width of the first layer and of the last but one"),
        LABEL_SMOOTHING,
        *TRAINING_HYPERS,
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden, width = int(self.static["hidden_dim"]), int(self.static["embedding_dim"])
        layers = {
            "audio.in": (self.audio_dim, hidden),
            "visual.in": (self.visual_dim, hidden),
            "shared": (hidden, width),
            "mean": (width, width),
            "log_variance": (width, width),
            "head": (width, self.num_classes),
            "decoder": (width, hidden),
            "audio.out": (hidden, self.audio_dim),
            "visual.out": (hidden, self.visual_dim),
        }
        params = init_linears(generator, layers)
        if self.static["centers"] == "learned":
            params["centers"] = torch.empty(self.num_classes, width).normal_(generator=generator)
        return params, {}

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return self._encode(params, "audio", audio)[0], self._encode(params, "visual", visual)[0]

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        samples = []
        l_vae = torch.zeros_like(hyper["w_vae"])
        for view, x, stream in (("audio", batch.audio, _AUDIO_STREAM), ("visual", batch.visual, _VISUAL_STREAM)):
            mean_LBD, log_variance_LBD = self._encode(params, view, x)
            noise_LBD = gaussian(batch.dropout_keys, tuple(mean_LBD.shape[1:]), stream, mean_LBD.dtype)
            sample_LBD = mean_LBD + noise_LBD * torch.exp(log_variance_LBD / 2)
            decoded = self._layer(params, f"{view}.out", self._layer(params, "decoder", sample_LBD))
            kl_L = (log_variance_LBD.exp() + mean_LBD.square() - 1 - log_variance_LBD).sum((1, 2)) / 2
            l_vae = l_vae + (decoded - x).square().mean((1, 2)) + kl_L
            samples.append(sample_LBD)
        e_a, e_v = samples
        terms = {
            "l_vae": l_vae,
            "l_lab": label_l2(
                params["head.weight"],
                e_a,
                e_v,
                batch.labels,
                self.num_classes,
                hyper["label_smoothing"],
                params["head.bias"],
            ),
            "l_corr": _correlation(e_a, e_v, same_class(batch.labels).to(e_a.dtype)),
            "l_dis": pair_distance(e_a, e_v),
            "l_center": self._center(params, batch, e_a, e_v),
        }
        total = terms["l_lab"] + sum(
            hyper[f"w_{name}"] * terms[f"l_{name}"] for name in ("vae", "corr", "dis", "center")
        )
        return {"loss": total, **terms}

    def _encode(self, params: Tensors, view: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance [L, B, D]."""
        shared = self._layer(params, "shared", torch.relu(self._layer(params, f"{view}.in", x)))
        return self._layer(params, "mean", shared), self._layer(params, "log_variance", shared)

    def _layer(self, params: Tensors, name: str, x: Tensor) -> Tensor:
        return linear(x, params[f"{name}.weight"], params[f"{name}.bias"])

    def _center(self, params: Tensors, batch: Batch, e_a: Tensor, e_v: Tensor) -> Tensor:
        """l_center: mean_i ||e_i - c_y||^2 / (clips of class y in the batch) / 8, of both views: [L]. Of a clip of
        several labels, the mean over them."""
        if self.static["centers"] == "learned":
            centers = [params["centers"]] * 2
        else:
            shape = (2, self.num_classes, e_a.shape[2])
            centers = list(gaussian(batch.dropout_keys, shape, _CENTER_STREAM, e_a.dtype).unbind(1))
        member_LBC = one_hot(batch.labels, self.num_classes, e_a.dtype)
        if is_multi_label(batch.labels):
            sizes_L1C = member_LBC.sum(1, keepdim=True).clamp(min=1)
            apart = (_squared_distance(*pair) / sizes_L1C for pair in zip((e_a, e_v), centers, strict=True))
            return sum(of_labels(one, batch.labels) for one in apart).mean(1) / 8  # type: ignore[union-attr]
        size_LB = member_LBC.sum(1).gather(1, batch.labels)
        total_LB = torch.zeros_like(size_LB)
        for e_LBD, center_LCD in zip((e_a, e_v), centers, strict=True):
            total_LB = total_LB + (e_LBD - torch.bmm(member_LBC, center_LCD)).square().sum(2) / size_LB
        return total_LB.mean(1) / 8


def _squared_distance(e_LBD: Tensor, center_LCD: Tensor) -> Tensor:
    """||e_i - c_y||^2 of every row and class: [L, B, C]."""
    products_LBC = torch.bmm(e_LBD, center_LCD.transpose(1, 2))
    return e_LBD.square().sum(2)[:, :, None] - 2 * products_LBC + center_LCD.square().sum(2)[:, None, :]


def _correlation(e_a: Tensor, e_v: Tensor, links: Tensor) -> Tensor:
    """l_corr: the likelihood of the class links [L, B, B] over (aa, av, vv), with each row's mean subtracted: [L]."""
    a, v = (e - e.mean(2, keepdim=True) for e in (e_a, e_v))
    return sum(correlation_likelihood(x, y, links) for x, y in ((a, a), (a, v), (v, v)))  # type: ignore[return-value]
