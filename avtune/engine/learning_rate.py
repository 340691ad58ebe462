"""The learning rate of a step: `lr`, after a linear rise and along a half cosine where a lane asks for them.

Legend: L lanes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avtune.lanes.modules import Tensors


def learning_rates(hyper: Tensors, steps_L: Tensor, total_L: Tensor) -> Tensor:
    """[L]: `lr`, times min(1, step / w) over the first w = `warmup` * total steps, and from there to the end times
    1 - (1 - `lr_end`) (1 - cos(pi t)) / 2 with t from 0 to 1 (Loshchilov, Hutter 2017); it then stays.

    Without these hyper-parameters, and to the last bit with `warmup` 0 and `lr_end` 1, it is `lr`.

    Args:
        hyper: those of the lanes, [L] each.
        steps_L: number of the step in each lane's own count, from 1.
        total_L: steps over which each lane's schedules are laid out.
    """
    if "lr_end" not in hyper or "warmup" not in hyper:
        return hyper["lr"]
    steps, total = steps_L.to(hyper["lr"].dtype), total_L.clamp(min=1)
    warm = hyper["warmup"] * total
    rise = (steps / warm.clamp(min=1e-9)).clamp(max=1)
    done = ((steps - 1 - warm) / (total - warm).clamp(min=1)).clamp(0, 1)
    return hyper["lr"] * rise * (1 - (1 - hyper["lr_end"]) * (1 - torch.cos(math.pi * done)) / 2)
