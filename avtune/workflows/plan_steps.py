"""What training steps take on this machine, measured on a few of them, for a plan of a search on its CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from avtune.core.trial import Trial
from avtune.data.dataset import Split
from avtune.data.prepare import Prepared
from avtune.runners.costs import DEVICES, Size
from avtune.space.space import Space

_STEPS = 2  # of an epoch that is timed
_SECONDS, _LEAST = 1.0, 2  # for epochs that are timed; how many at least
_MOST_WEIGHTS = 1 << 25  # of a lane; wider ones are not tried: steps take seconds


def slower_here(
    space: Space, widths: tuple[int, int], classes: int, rows: int, lanes: int, precision: str
) -> float | None:
    """By how much steps take longer on a core of this machine than `DEVICES["cpu"]` has it: a few are trained, of the
    default configuration, on random clips.

    Args:
        widths: of the features of both views.
        classes: how many.
        rows: training rows.
        lanes: of an engine.
        precision: of the search.

    Returns:
        None where the method is not trained in steps, or too wide to be tried.
    """
    import torch

    from avtune.engine.lane_trainer import LaneTrainer
    from avtune.methods import METHODS, ClosedForm, check_config, static_values

    kind = METHODS.get(space.method)
    if kind is None or issubclass(kind, ClosedForm):
        return None
    config = check_config(kind, space.defaults())
    if sum(Size(rows, 0, widths).weights(config)) > _MOST_WEIGHTS:
        return None
    batch = min(int(config.get("batch_size", rows)), rows)
    data = _random_clips(min(rows, _STEPS * batch), widths, classes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as an engine on a CPU has
    try:
        trainer = LaneTrainer(space.method, static_values(kind, config), data, capacity=lanes, precision=precision)
        for number in range(lanes):
            trainer.admit(Trial(number, space.method, config, number, 1000, precision=precision))
        taken = _epoch(trainer.train_epoch)
    finally:
        torch.set_num_threads(threads)
    expected = Size(data.rows, 0, widths).epoch(DEVICES["cpu"], config, fp32=precision == "fp32")
    return taken / expected.seconds(lanes)


def _epoch(train: Callable[[], object]) -> float:
    """Seconds of an epoch, the median of some; the first one, which also loads code, is not timed."""
    train()
    found, end = list[float](), time.perf_counter() + _SECONDS
    while len(found) < _LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        train()
        found.append(time.perf_counter() - start)
    return median(found)


def _random_clips(rows: int, widths: tuple[int, int], classes: int) -> Prepared:
    draw = np.random.default_rng(0)
    audio, visual = (draw.standard_normal((rows, width), np.float32) for width in widths)
    return Prepared(Split(audio, visual, np.arange(rows) % classes), None, classes)
