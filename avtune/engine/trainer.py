"""Trains one configuration: a lane group (`engine.group`) with one trial, as an engine has several with many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from avtune.core.trial import Trial, TrialFailed
from avtune.data.prepare import Prepared
from avtune.engine.group import Group, lane_trials_of
from avtune.engine.lane_trainer import LaneTrainer
from avtune.lanes.modules import Tensors
from avtune.methods import Method, get, static_values

Report = Callable[[int, dict[str, float]], bool]
"""Called after every epoch (from 1) with its metrics; returns whether to go on."""


@dataclass(frozen=True)
class Trained:
    """Weights after `epochs` epochs (of the first fold), on the CPU without lane axis."""

    method: Method
    params: Tensors
    buffers: Tensors
    epochs: int


def train(trial: Trial, data: Prepared | Sequence[Prepared], report: Report, *, device: str = "cpu") -> Trained:
    """Trains one configuration and calls `report(epoch, metrics)` after every epoch.

    Args:
        trial: what to train.
        data: the rows; several folds are trained side by side and their metrics averaged.
        report: receives `loss` and its terms (means over the epoch's steps), `val_map`, `val_map_a2v`, `val_map_v2a`
            (0 to 1, when there are validation rows), `lr`, the method's schedules such as `r`, `seconds` and
            `clips_per_second` of the epoch. Training ends early when it returns False.
        device: where, e.g. `cpu` or `cuda:0`.

    Returns:
        The weights after the last epoch, or after the best one if the trial keeps that.

    Raises:
        UserError: the configuration is not legal for the method.
        TrialFailed: a loss or an embedding is not finite.
    """
    folds = [data] if isinstance(data, Prepared) else list(data)
    lane_trials = lane_trials_of(trial, len(folds))
    static = static_values(get(trial.method), lane_trials[0].config)
    group = Group([LaneTrainer(trial.method, static, fold, device=device, precision=trial.precision) for fold in folds])
    group.enter(trial, lane_trials, [None] * len(folds), [])
    while True:
        (outcome,) = group.train_epoch()
        if outcome.failed is not None:
            raise TrialFailed(outcome.failed)
        if not report(outcome.epoch, outcome.metrics) or outcome.ended:
            return Trained(group.folds[0].method, *group.trained(trial.number))


@torch.no_grad()
def embed(trained: Trained, audio: np.ndarray, visual: np.ndarray, rows: int = 8192) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of scaled features: float32 [N, D] for each view, `rows` at a time."""
    params = {name: value[None] for name, value in trained.params.items()}
    buffers = {name: value[None] for name, value in trained.buffers.items()}
    parts = [
        trained.method.embed(
            params, buffers, torch.tensor(audio[None, at : at + rows]), torch.tensor(visual[None, at : at + rows])
        )
        for at in range(0, len(audio), rows)
    ]
    z_a, z_v = (torch.cat(views, 1)[0].numpy() for views in zip(*parts, strict=True))
    return z_a, z_v
