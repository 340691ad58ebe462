"""Proxy anchor loss, with proxies that the two views share.

Kim et al. 2020, "Proxy Anchor Loss for Deep Metric Learning". exact: equation 4 of the paper and the authors' public
code (a learned proxy a class, drawn by Kaiming's normal rule with the fan of the classes; alpha 32, delta 0.1; proxies
learn 100 times as fast as the network). The paper's batch is one of images; here it is the embeddings of both views,
many of each class, for which the defaults are softer.
A proxy is its first value plus `proxy_lr` times what AdamW learns, which makes its steps so much longer, as
a learning rate of its own does; weight decay pulls it back to its first value. The encoders are those of `psd`.

Legend: L lanes, B rows of a batch, M = 2 B embeddings, D embedding, C classes.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.lanes.modules import Tensors, cosine, one_hot
from avtune.methods._base import TRAINING_HYPERS, Batch, Progress
from avtune.methods._two_encoders import TwoEncoders
from avtune.methods.psd import ENCODER_HYPERS

_ABSENT = -1e9
"""In place of an exponent that is not in a sum; minus infinity would give gradients that are no numbers."""


class ProxyAnchor(TwoEncoders):
    """Every class's proxy pulls the clips of its class and pushes all others, both views at once (exact). A clip of
    several labels is pulled by the proxy of each."""

    name: ClassVar[str] = "proxy_anchor"
    summary: ClassVar[str] = "proxy anchor loss: a learned proxy a class, shared by the views, as the anchor"
    source: ClassVar[str] = "Kim et al. 2020, paper and public code; exact"
    multi_label: ClassVar[bool] = True
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("alpha", "float", 8.0, 0.1, 1000.0, doc="scale of the cosine similarities; published: 32"),
        Hyper("margin", "float", 0.1, 0.0, 2.0, doc="delta, in cosine similarity; published: 0.1"),
        Hyper(
            "proxy_lr",
            "float",
            10.0,
            0.01,
            10000.0,
            doc="learning rate of the proxies by that of the network; published: 100",
        ),
        *ENCODER_HYPERS,
        *TRAINING_HYPERS,
    )

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        params, buffers = super().init(generator)
        first = torch.empty(self.num_classes, int(self.static["embedding_dim"]))
        buffers["proxies.first"] = first.normal_(0, math.sqrt(2 / self.num_classes), generator=generator)
        params["proxies.learned"] = torch.zeros_like(first)
        return params, buffers

    def loss(
        self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress
    ) -> dict[str, Tensor]:
        z_a, z_v = self.trained(params, buffers, batch, hyper)
        proxies_LCD = buffers["proxies.first"] + hyper["proxy_lr"][:, None, None] * params["proxies.learned"]
        similarity_LMC = cosine(torch.cat([z_a, z_v], 1), proxies_LCD)
        own_LMC = one_hot(torch.cat([batch.labels, batch.labels], 1), self.num_classes, torch.bool)
        alpha_L11, margin_L11 = (hyper[name][:, None, None] for name in ("alpha", "margin"))
        pull_LC = _log_one_plus_sum(-alpha_L11 * (similarity_LMC - margin_L11), own_LMC)
        push_LC = _log_one_plus_sum(alpha_L11 * (similarity_LMC + margin_L11), ~own_LMC)
        terms = {
            "l_pos": pull_LC.sum(1) / own_LMC.any(1).sum(1).clamp(min=1),  # a proxy without clips has 0 in the sum
            "l_neg": push_LC.mean(1),
        }
        return {"loss": terms["l_pos"] + terms["l_neg"], **terms}


def _log_one_plus_sum(exponent_LMC: Tensor, counts_LMC: Tensor) -> Tensor:
    """log(1 + sum over the rows that count of exp(exponent)) of every column: [L, C]."""
    sum_LC = exponent_LMC.masked_fill(~counts_LMC, _ABSENT).logsumexp(1)
    return torch.logaddexp(sum_LC, torch.zeros_like(sum_LC))
