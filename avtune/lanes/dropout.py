"""Dropout with a probability of each lane's own, from random bytes that depend on (trial seed, step, place) only.

Legend: L lanes, B rows of a batch, H features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from avtune.lanes.noise import random_bytes


@dataclass(frozen=True)
class Mask:
    """What a layer drops in a step.

    Attributes:
        keys_L: see `Dropout`.
        dropped_L: a value is dropped where its random byte, 0 to 255, is below this.
        scale_L: factor of the values that are kept.
        stream: of the random bytes, see `noise.random_bytes`.
    """

    keys_L: Tensor
    dropped_L: Tensor
    scale_L: Tensor
    stream: int

    def factor(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """[L, B, H]: 0 where a value is dropped, else the scale."""
        lanes, rows, width = shape
        noise = random_bytes(self.keys_L, rows * width, self.stream).view(lanes, rows, width)
        # Arithmetic instead of a comparison: bytes are exact in every dtype, and on a CPU comparisons, like operations
        # on tensors of mixed dtypes, are several times slower.
        dropped, scale = (x[:, None, None].to(dtype) for x in (self.dropped_L, self.scale_L))
        return noise.to(dtype).sub_(dropped - 1).clamp_(0, 1).mul_(scale)


class Dropout:
    """Dropout with a probability of each lane's own, for one training step.

    The probability is rounded to a multiple of 1/256 (a mask costs one random byte an element), and the kept values are
    scaled by the exact inverse of the rounded keep probability, so the expectation is exact. Each call in a step uses
    the next stream of the step's noise.

    Args:
        keys_L: int32 [L] from `noise.step_keys`.
        p_L: [L], probability of zeroing, 0 to 0.99.
    """

    def __init__(self, keys_L: Tensor, p_L: Tensor) -> None:
        self._keys_L = keys_L
        self._dropped_L = torch.round(p_L * 256).clamp_(0, 255)
        self._scale_L = 256 / (256 - self._dropped_L)
        self._stream = 0

    def draw(self) -> Mask:
        """What the next call of this step drops; it counts as that call."""
        self._stream += 1
        return Mask(self._keys_L, self._dropped_L, self._scale_L, self._stream - 1)

    def __call__(self, x_LBH: Tensor) -> Tensor:
        kept: Tensor = _Drop.apply(x_LBH, self.draw().factor(x_LBH.shape, x_LBH.dtype))  # type: ignore[no-untyped-call]
        return kept


class _Drop(torch.autograd.Function):
    """x times a factor that has no gradient."""

    @staticmethod
    def forward(ctx: Any, x_LBH: Tensor, factor_LBH: Tensor) -> Tensor:
        ctx.save_for_backward(factor_LBH)
        return factor_LBH * x_LBH

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return factor * grads[0], None
