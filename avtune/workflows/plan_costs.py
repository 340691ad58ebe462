"""What things take on a device that a search is planned for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from avtune.core.trial import Trial
from avtune.methods import hypers_of
from avtune.runners.costs import DEVICES, Costs, Device, EpochCost, Size
from avtune.study.folder import StudyFolder
from avtune.study.recorded_curves import RecordedCurves

_SUGGESTION = 0.01
"""Seconds of a suggestion; benchmarks/reports/2026-11-25-driver.md."""
# How far costs may be off: of a study's own seconds, of steps here, of a named device in proportion to the speed of a
# product, of a named device.
_MEASURED, _STEPS, _PROPORTIONAL, _NAMED = 0.2, 0.25, 0.3, 0.5
# Multiplications with additions a second of products in float32 on the core that `DEVICES["cpu"]` names: 96 GFLOP/s,
# benchmarks/reports/2026-11-26-lanes.md, "ceiling".
_REFERENCE_PRODUCTS = 48e9
# What products take of an epoch there, same report ("of the ceiling"). The rest is bound by memory, whose speed differs
# less from one CPU to another, and is taken to be the same.
_PRODUCTS_SHARE = 0.59


def costs_of(size: Size, device: str, precision: str, factor: float, folds: int) -> Costs:
    """What a device takes for trials of that size."""
    known: dict[tuple[object, ...], EpochCost] = {}
    kind = DEVICES[device]

    def epoch_of(trial: Trial) -> EpochCost:
        key = tuple(trial.config.get(name) for name in ("batch_size", "hidden_dim", "embedding_dim"))
        if key not in known:
            one = size.epoch(kind, trial.config, fp32=precision == "fp32")
            known[key] = EpochCost(*(folds * factor * part for part in (one.fixed, one.lane, one.validation)))
        return known[key]

    def group_of(trial: Trial) -> tuple[object, ...]:
        static = [name for name, hyper in hypers_of(trial.method).items() if hyper.static]
        return tuple(trial.config.get(name) for name in static)

    return Costs(epoch_of, start=kind.start, suggestion=_SUGGESTION, group_of=group_of)


def factor_here(
    curves: Sequence[StudyFolder | Path],
    device: str,
    precision: str,
    recorded: Sequence[RecordedCurves],
    steps: Callable[[], float | None],
) -> tuple[float, str, float]:
    """By how much epochs take longer than `DEVICES` has it, where that comes from, and how far it may be off.

    Args:
        curves, recorded: what was given, and what each holds. The first study on such a device is gone by.
        steps: measures the factor for a CPU on this machine, see `plan_steps.slower_here`.
    """
    kind = DEVICES[device]
    for given, known in zip(curves, recorded, strict=False):
        if not isinstance(given, StudyFolder) or not known.rows:
            continue
        settings = given.settings()
        if ("GPU" in str(settings.get("placement", ""))) == (device == "gpu"):
            measured = median(second for run in known.runs for second in run.seconds[1:] or run.seconds)
            expected = _lane_epoch(settings, kind, known)
            return measured / expected, f"costs: the seconds of the study {given.root.name}", _MEASURED
    if device == "gpu":
        return 1.0, f"costs: {kind.name}; GPUs of another kind take other times", _NAMED
    slower = steps()
    if slower is not None:
        return slower, f"costs: training steps here, which take {slower:.0%} of those of {kind.name}", _STEPS
    speed = _products()
    said = f"costs: {kind.name}; products here run at {speed / _REFERENCE_PRODUCTS:.0%} of its speed, in {precision}"
    return 1 - _PRODUCTS_SHARE + _PRODUCTS_SHARE * _REFERENCE_PRODUCTS / speed, said, _PROPORTIONAL


def _lane_epoch(settings: dict[str, object], kind: Device, recorded: RecordedCurves) -> float:
    """Seconds that a lane's epoch of a study would take by `kind`, with the lanes of a CPU engine or of a GPU's."""
    about = settings["dataset"]
    assert isinstance(about, dict)
    space, folds = recorded.space, recorded.space.validation.folds or 1
    held_out = recorded.rows * (1 / (folds - 1) if folds > 1 else _odds(space.validation.fraction or 0.0))
    size = Size(recorded.rows, round(held_out), (int(about.get("audio_dim", 128)), int(about.get("visual_dim", 1024))))
    cost = size.epoch(kind, space.defaults(), fp32=recorded.precision == "fp32")
    words = str(settings.get("placement", "")).split()
    lanes = int(words[words.index("lanes") - 1]) if "lanes" in words else 1
    return folds * cost.seconds(lanes) / lanes


def _odds(share: float) -> float:
    return share / (1 - share)


def _products() -> float:
    """Multiplications with additions that a core of this machine does a second, in float32: the best of some tries."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    left, right = np.ones((256, 1024), np.float32), np.ones((1024, 512), np.float32)
    best = 0.0
    with threadpool_limits(1):
        for _ in range(30):
            start = time.perf_counter()
            left @ right
            best = max(best, left.size * right.shape[1] / (time.perf_counter() - start))
    return best
