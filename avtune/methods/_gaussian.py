"""Normal random numbers of a training step from its lane keys, see `lanes.noise`.

Legend: L lanes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avtune.lanes.noise import random_bytes


def gaussian(keys_L: Tensor, shape: tuple[int, ...], stream: int, dtype: torch.dtype) -> Tensor:
    """Standard normal numbers [L, *shape], the same for the same key and stream in any lane (Box, Muller 1958).

    Args:
        keys_L: int32 [L], the step's keys.
        shape: of one lane.
        stream: which use within the step; other than those of dropout, which counts up from 0.
        dtype: of the result; the numbers come from 24 bits each whatever it is.
    """
    lanes, num = len(keys_L), math.prod(shape)
    half = -(-num // 2)
    words = random_bytes(keys_L, 8 * half, stream).contiguous().view(torch.int32)
    uniform_LN = ((words >> 8) & 0xFFFFFF).to(dtype).add_(0.5).mul_(2.0**-24)
    radius = torch.sqrt(-2 * torch.log(uniform_LN[:, :half]))
    angle = 2 * math.pi * uniform_LN[:, half:]
    both = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], 1)
    return both[:, :num].reshape(lanes, *shape)
