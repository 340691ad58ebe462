"""The core trainer: one configuration, one report an epoch. A fused engine is the same loop over many
configurations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from avtune.core.seeds import mix
from avtune.core.trial import Trial, TrialFailed
from avtune.data.prepare import Prepared
from avtune.engine.lane_trainer import Lanes, mean_metrics
from avtune.lanes.modules import Tensors
from avtune.methods import Method, check_config, get, static_values

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
        (0 to
            1, when there are validation rows), `lr`, the method's schedules such as `r`, `seconds` and
            `clips_per_second` of the epoch. Training ends early when it returns False.
        device: where, e.g. `cpu` or `cuda:0`.

    Returns:
        The weights after the last epoch, or after the best one if the trial keeps that.

    Raises:
        UserError: the configuration is not legal for the method.
        TrialFailed: a loss or an embedding is not finite.
    """
    kind = get(trial.method)
    config = check_config(kind, trial.config)
    folds = [data] if isinstance(data, Prepared) else list(data)
    runs: list[tuple[Lanes, Trial]] = []
    for index, fold in enumerate(folds):
        seed = trial.seed if index == 0 else mix(trial.seed, "fold", index)
        lane_trial = replace(trial, config=config, seed=seed)
        lanes = Lanes(trial.method, static_values(kind, config), fold, device=device, precision=trial.precision)
        lanes.admit(lane_trial)
        runs.append((lanes, lane_trial))
    lanes, lane_trial = runs[0]
    epoch, best = 0, -math.inf
    values: list[float] = []
    kept: Trained | None = None
    for epoch in range(1, trial.epochs + 1):
        results = [one.train_epoch()[0] for one, _ in runs]
        failed = next((result.failed for result in results if result.failed), None)
        if failed:
            raise TrialFailed(failed)
        metrics = mean_metrics(results)
        if trial.keep_best and metrics["val_map"] > best:
            best, kept = metrics["val_map"], Trained(lanes.method, *lanes.weights(lane_trial), epoch)
        values.append(metrics.get("val_map", 0.0))
        if not report(epoch, metrics) or trial.ends(values):
            break
    return kept or Trained(lanes.method, *lanes.weights(lane_trial), epoch)


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
