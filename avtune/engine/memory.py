"""What lanes take: how many of a group a device has memory for, and whether they are wide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from avtune.core.hyper import Value
from avtune.core.system import available_memory, usable_cores
from avtune.core.trial import Trial
from avtune.engine.blocks import BLOCK_BYTES, WIDE_BYTES
from avtune.engine.lane_trainer import LaneTrainer
from avtune.lanes.noise import init_generator
from avtune.methods import get, static_values

# Share of the free memory that lanes may take: some is lost to fragmentation, and other processes may take some.
_SHARE = 0.9
# Bytes for the activations of the block that a CPU trains, whatever the group, see `need`.
_STEPS = 6 * BLOCK_BYTES
# Matrices [B, B] that a step holds for each lane at a time: 9 to 20 were measured with batches of 2,048, of `triplet`,
# `clip`, `aadml`, `eics`, `tnn_ccca`, `psd` and `dscmr`. Those of 16 lanes with batches of up to 495 fit into `_STEPS`.
_MATRICES = 16


def is_wide(method: str, config: Mapping[str, Value], dims: tuple[int, int, int]) -> bool:
    """Whether a lane has more weights than `WIDE_BYTES` in float32.

    Args:
        method: its name.
        config: its hyper-parameters, all of them.
        dims: widths of the audio and the visual features, and number of classes.
    """
    kind = get(method)
    params, _ = kind(static_values(kind, config), *dims).init(init_generator(0))
    return 4 * sum(value.numel() for value in params.values()) > WIDE_BYTES


@dataclass(frozen=True)
class Need:
    """Bytes that lanes take: the first one with all that is there once, and each further one."""

    first: int
    further: int

    def lanes(self, room: int) -> int:
        """How many fit into so many bytes."""
        return 0 if room < self.first else 1 + (room - self.first) // self.further


def free_bytes(device: str) -> int:
    """What an engine may take of a device's memory: on a GPU what is free there, on a CPU its threads' share of what
    the machine has available."""
    if device == "cpu":
        return int(_SHARE * available_memory() * min(1.0, torch.get_num_threads() / usable_cores()))
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # cached by torch's allocator
    return int(_SHARE * (free + kept))


def need(make: Callable[[int], LaneTrainer], trials: Sequence[Trial], device: str) -> Need:
    """What lanes of a group take, with a lane for each fold.

    On a GPU the peak of an epoch of one lane and of two lanes is measured, on the first fold. On a CPU, where a
    process cannot tell its memory from what it has kept of earlier work, weights and moments are counted, and the
    features that are copied; what a step keeps for its backward pass is of one block only (`engine.blocks`), and put at
    twice as much, see `benchmarks/lanes.py`, and for large batches at their similarities.

    Args:
        make: makes the lanes of the first fold for so many trials.
        trials: a trial's lane for each fold.
        device: where.

    Raises:
        torch.OutOfMemoryError: two lanes do not fit.
    """
    one = make(1)
    one.store.admit(trials[0])
    state = one.store.lane_bytes
    if device == "cpu":
        # A lane with more weights than `BLOCK_BYTES` is a block by itself; its step takes about twice its state.
        batch, rows = one.copied_bytes
        similarities = 4 * _MATRICES * int(trials[0].config.get("batch_size", 0)) ** 2
        further = len(trials) * state + batch + max(0, similarities - _STEPS // 16)
        return Need(further + max(_STEPS, 4 * state) + rows, further)
    del one
    single, pair = (_peak(make, trials[0], count, device) for count in (1, 2))
    others = (len(trials) - 1) * state
    return Need(single + others, max(pair - single, state) + others)


def _peak(make: Callable[[int], LaneTrainer], trial: Trial, lanes: int, device: str) -> int:
    """The most bytes of a GPU that so many lanes take in their first epoch, beside what was taken before."""
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    group = make(lanes)
    for number in range(lanes):
        group.store.admit(replace(trial, number=number))
    group.train_epoch()
    return int(torch.cuda.max_memory_allocated(device)) - before
