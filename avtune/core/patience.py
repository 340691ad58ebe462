"""When a curve is flat: the one rule by which trials and finalists with an open horizon end. Imports nothing of ours.

A value counts as better when it exceeds the best one before by more than the curve's noise, and by a thousandth. A
curve is flat when nothing better has come for `patience` epochs, and for a share of the epochs that it took to get
there: what rises slowly is given more time. `benchmarks/patience.py` compares rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

SHARE = 1 / 3
"""Of the epochs up to the best one; at least so many further ones are waited for."""
LEAST_GAIN = 0.001
"""Relative gain that counts as better where there is no noise."""
RISE = 0.01
"""Relative gain of a curve's last quarter over the one before that counts as a rise."""
_NORMAL = 1.4826  # the standard deviation of a normal distribution over its median absolute deviation


def is_flat(values: Sequence[float], patience: int) -> bool:
    """Whether training can end.

    Args:
        values: a score by epoch, from the first; higher is better.
        patience: epochs to wait for a better value, at least 1.
    """
    assert patience >= 1
    if len(values) <= patience:
        return False
    best = _last_better(values)
    return len(values) - best >= max(patience, SHARE * best)


def still_rises(values: Sequence[float]) -> bool:
    """Whether a curve rises at its end by more than its noise: the mean of its last quarter is above that of the
    quarter before by two standard errors, and by a hundredth of itself, and something better has come in the last
    eighth."""
    width = len(values) // 4
    if width < 2 or len(values) - _last_better(values) > width / 2:
        return False
    last, before = fmean(values[-width:]), fmean(values[-2 * width : -width])
    error: float = noise(values) * (2 / width) ** 0.5
    return last - before > max(2 * error, RISE * before)


def _last_better(values: Sequence[float]) -> int:
    """The last epoch, from 1, that was better than all before by more than the noise."""
    margin = noise(values)
    best, at = values[0], 1
    for epoch, value in enumerate(values[1:], 2):
        if value > best + max(margin, LEAST_GAIN * best):
            best, at = value, epoch
    return at


def noise(values: Sequence[float]) -> float:
    """How far a value lies from its curve, as a standard deviation: from the differences of neighbours, by their
    median, so that a rise does not count as noise. 0 with fewer than three values."""
    if len(values) < 3:
        return 0.0
    steps = [after - before for before, after in pairwise(values)]
    middle = median(steps)
    return _NORMAL * median(abs(step - middle) for step in steps) / 2**0.5
