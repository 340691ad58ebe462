"""How many lanes take a training step together.

On a GPU all of them: the device is filled best so. On a CPU the lanes are trained in blocks, one block after the other,
because what autograd keeps for the backward pass (activations) is of one block only, and small enough for the cache.
"""

from __future__ import annotations

import numpy as np
import torch

BLOCK_BYTES = 40 << 20
"""Most bytes of weights in a block on a CPU."""
WIDE_BYTES = 2 << 20
"""Lanes with more bytes of weights than this make two blocks at least. A step of narrower ones takes as long for its
calls as for its arithmetic (8 lanes of 128 units: 50 ms an epoch and lane in two blocks, 41 in one), and their
activations are small."""
_NARROW_LANES = 16  # most narrow lanes in a block


def blocks_of(lanes: int, lane_bytes: int, device: torch.device, most: int | None = None) -> list[slice]:
    """The first `lanes` lanes in blocks of even sizes.

    Args:
        lanes: at least 1.
        lane_bytes: bytes of one lane's weights.
        device: that trains them.
        most: lanes in a block; None to choose.
    """
    assert lanes, "no active lane"
    if most is None:
        most = lanes if device.type != "cpu" else _most_on_cpu(lanes, lane_bytes)
    parts = np.array_split(np.arange(lanes), -(-lanes // most))
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def _most_on_cpu(lanes: int, lane_bytes: int) -> int:
    most = -(-lanes // 2) if lane_bytes > WIDE_BYTES else _NARROW_LANES
    return max(1, min(BLOCK_BYTES // lane_bytes, most))
