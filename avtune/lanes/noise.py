"""Random numbers that depend only on (trial seed, step, place): the same for a trial alone, in any lane, or resumed.

Dropout masks come from a counter-based hash, not from a generator with hidden state, so nothing has to be saved to
continue a trial, and all lanes are drawn by the same few tensor operations.

Legend: L lanes, N random bytes a lane.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avtune.core.seeds import mix

_GOLDEN = 0x9E3779B97F4A7C15


def row_order(seed: int, epoch: int, num_rows: int) -> np.ndarray:
    """The order in which epoch `epoch` (from 0) visits the training rows: a permutation, int64 [num_rows]."""
    return np.random.Generator(np.random.Philox(key=mix(seed, "order", epoch))).permutation(num_rows)


def init_generator(seed: int) -> torch.Generator:
    """The generator that initialises a trial's weights; on the CPU whatever the device, so that all devices agree."""
    return torch.Generator().manual_seed(mix(seed, "init"))


def step_keys(seeds: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """A 32-bit key for each lane's dropout at its own step.

    Args:
        seeds: int64 [L], trial seeds.
        steps: int64 [L], optimiser steps done so far.

    Returns:
        int32 [L].
    """
    with np.errstate(over="ignore"):
        state = seeds.astype(np.uint64) * np.uint64(_GOLDEN) + steps.astype(np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return (state >> np.uint64(32)).astype(np.uint32).view(np.int32)


def stream_start(stream: int) -> int:
    """The first count of a stream, 0 to 2^31 - 1."""
    return (stream * 0x3C6EF372 + 0x1B873593) & 0x7FFFFFFF


def random_bytes(keys_L: Tensor, num_bytes: int, stream: int) -> Tensor:
    """Uniform random bytes, the same for the same key and stream on every device.

    A 32-bit multiply-xorshift hash (the MurmurHash3 finaliser, twice keyed) of a counter; four bytes from each word.

    Args:
        keys_L: int32 [L] from `step_keys`.
        num_bytes: bytes wanted for each lane.
        stream: which use within the step (e.g. the layer), so that no two uses share bytes.

    Returns:
        uint8 [L, N].
    """
    num_words = -(-num_bytes // 4)
    start = stream_start(stream)
    counter = torch.arange(start, start + num_words, device=keys_L.device, dtype=torch.int64).to(torch.int32)
    words = counter * -1640531527 + keys_L[:, None]
    words.bitwise_xor_((words >> 16).bitwise_and_(0xFFFF)).mul_(-2048144789)
    words.bitwise_xor_((words >> 13).bitwise_and_(0x7FFFF)).add_(keys_L[:, None]).mul_(-1028477387)
    words.bitwise_xor_((words >> 16).bitwise_and_(0xFFFF))
    return words.view(torch.uint8)[:, :num_bytes]
