"""When a curve is flat, and when it still rises."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.core.patience import is_flat, noise, still_rises


def first_flat(values, patience):
    """The epoch at which training ends; None for never."""
    return next((epoch for epoch in range(1, len(values) + 1) if is_flat(values[:epoch], patience)), None)


def noisy(values, size, seed=0):
    draw = random.Random(seed)
    return [value + draw.gauss(0, size) for value in values]


def test_a_rising_curve_never_ends_and_a_constant_one_ends_after_its_patience():
    assert first_flat([0.01 * epoch for epoch in range(100)], 3) is None
    assert first_flat([0.3] * 40, 7) == 8


def test_one_that_peaked_ends_its_patience_after_the_peak_or_a_third_of_the_way_there():
    def peaked(at):
        return [min(epoch, at) * 0.005 for epoch in range(1, 200)]

    assert first_flat(peaked(9), 16) == 9 + 16
    assert first_flat(peaked(90), 16) == 90 + 30


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_does_not_keep_a_flat_curve_going(seed):
    assert first_flat(noisy([0.5] * 200, 0.004, seed), 10) <= 60


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_rise_in_noise_goes_on(seed):
    values = noisy([0.3 + 0.1 * (1 - math.exp(-epoch / 60)) for epoch in range(200)], 0.003, seed)
    assert first_flat(values, 27) is None or first_flat(values, 27) > 100


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 20), st.integers(1, 20))
def test_more_patience_never_ends_earlier(values, patience, more):
    assert not is_flat(values, patience + more) or is_flat(values, patience)


def test_a_curve_no_longer_than_its_patience_is_not_flat():
    assert not is_flat([0.5] * 5, 5)
    assert not is_flat([], 1)


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_noise_is_measured_beside_a_rise(slope):
    values = noisy([slope * epoch for epoch in range(400)], 0.02)
    assert noise(values) == pytest.approx(0.02, rel=0.2)
    assert noise(values[:2]) == 0


@pytest.mark.parametrize("seed", range(20))
def test_still_rises(seed):
    rising = [0.3 + 0.2 * (1 - math.exp(-epoch / 40)) for epoch in range(27)]
    peaked = [0.3 + 0.1 * min(epoch, 9) / 9 - 0.001 * max(0, epoch - 9) for epoch in range(27)]
    assert still_rises(noisy(rising, 0.002, seed))
    assert not still_rises(noisy(peaked, 0.002, seed))
    assert not still_rises(noisy([0.5] * 27, 0.001, seed))
    assert not still_rises(rising[:7]), "too short to tell"
