"""The linear step of deep canonical correlation methods: CCA of the networks' outputs, solved from running sums.

A deep CCA network is trained up to any linear map of its outputs, so it is followed by linear CCA on the outputs of the
training rows. A method sees one batch at a time and embeds without labels; so each step adds its outputs, in
evaluation mode, to sums that forget, and `project` solves the CCA of what they hold. They hold about the last
`MEMORY_ROWS` rows: enough for covariances of a hundred dimensions, and recent enough for the present weights. (reading:
the published code solves once, after training, on all rows.)

Legend: L lanes, B rows, D outputs of a network, C classes, K directions kept.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avtune.lanes.modules import Tensors
from avtune.methods._correlation import Sums, class_sums, directions, mixed_moments

MEMORY_ROWS = 2048
"""Rows after which an output's part in the sums has fallen to 1/e."""
_NAMES = ("count", "audio", "visual", "aa", "vv", "av")


def init_running(num_classes: int, width: int) -> Tensors:
    """Buffers of one lane: empty sums, with which `project` keeps the first K outputs as they are."""
    shapes = ((num_classes,), (num_classes, width), (num_classes, width), *[(width, width)] * 3)
    sums = {f"cca.{name}": torch.zeros(shape) for name, shape in zip(_NAMES, shapes, strict=True)}
    return sums | {"cca.ridge": torch.ones(1), "cca.pair_weight": torch.ones(1)}


@torch.no_grad()
def remember(
    buffers: Tensors, audio_LBD: Tensor, visual_LBD: Tensor, labels_LB: Tensor, ridge_L: Tensor, pair_weight_L: Tensor
) -> None:
    """Adds a batch's outputs to the sums in `buffers`, and keeps the settings that `project` needs."""
    num_classes = buffers["cca.count"].shape[1]
    new = class_sums(audio_LBD.double(), visual_LBD.double(), labels_LB, num_classes)
    keep = math.exp(-labels_LB.shape[1] / MEMORY_ROWS)
    for name in _NAMES:
        buffers[f"cca.{name}"].mul_(keep).add_(getattr(new, name))
    buffers["cca.ridge"].copy_(ridge_L[:, None])
    buffers["cca.pair_weight"].copy_(pair_weight_L[:, None])


@torch.no_grad()
def settle(buffers: Tensors, rank: int) -> Tensors:
    """The buffers with the K canonical directions that `project` would solve for, as affine maps of the outputs."""
    # On the CPU: cuSOLVER decomposes many small matrices one after the other, which is slow.
    host = {name: buffers[f"cca.{name}"].cpu() for name in (*_NAMES, "ridge", "pair_weight")}
    moments = mixed_moments(Sums(*(host[name] for name in _NAMES)), host["pair_weight"][:, 0])
    w_a, w_v, _ = directions(moments, host["ridge"][:, 0], rank)
    solved: Tensors = {}
    for view, mean, weight in (("audio", moments.mean_a, w_a), ("visual", moments.mean_v, w_v)):
        solved |= {f"cca.{view}.weight": weight, f"cca.{view}.bias": -torch.bmm(mean[:, None], weight)}
    return buffers | solved


@torch.no_grad()
def project(buffers: Tensors, audio_LBD: Tensor, visual_LBD: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The outputs' K canonical coordinates: two tensors [L, B, K]. The buffers may be those of `settle`."""
    solved = buffers if "cca.audio.weight" in buffers else settle(buffers, rank)
    embedded = []
    for view, outputs in (("audio", audio_LBD), ("visual", visual_LBD)):
        weight, bias = solved[f"cca.{view}.weight"], solved[f"cca.{view}.bias"]
        embedded.append(torch.baddbmm(bias.to(outputs), outputs, weight.to(outputs)))
    return embedded[0], embedded[1]
