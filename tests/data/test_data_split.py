from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from avtune.core.errors import UserError
from avtune.data import Fold, Scaler, validation_folds

counts_per_class = st.lists(st.integers(5, 30), min_size=2, max_size=6)


def labels_of(counts: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def assert_is_split(fold: Fold, labels: np.ndarray) -> None:
    assert fold.fit.dtype == fold.validation.dtype == np.int64
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.fit, fold.validation])), np.arange(len(labels)))
    for rows in (fold.fit, fold.validation):
        assert len(np.unique(labels[rows])) == len(np.unique(labels))


@settings(deadline=None, max_examples=50)
@given(counts_per_class, st.floats(0.15, 0.6), st.integers(0, 5))
def test_one_stratified_fold_for_a_fraction(counts: list[int], fraction: float, seed: int) -> None:
    labels = labels_of(counts)
    if not len(counts) <= round(fraction * len(labels)) <= len(labels) - len(counts):
        with pytest.raises(UserError, match="at least one clip each on both sides"):
            validation_folds(labels, fraction=fraction, seed=seed)
        return
    (fold,) = validation_folds(labels, fraction=fraction, seed=seed)
    assert_is_split(fold, labels)
    assert abs(np.bincount(labels[fold.validation]) - fraction * np.array(counts)).max() < 2


@settings(deadline=None, max_examples=50)
@given(counts_per_class, st.integers(2, 5), st.integers(0, 5))
def test_k_stratified_folds(counts: list[int], folds: int, seed: int) -> None:
    labels = labels_of(counts)
    made = validation_folds(labels, folds=folds, seed=seed)
    assert len(made) == folds
    for fold in made:
        assert_is_split(fold, labels)
        assert abs(np.bincount(labels[fold.validation]) - np.array(counts) / folds).max() <= 1
    together = np.concatenate([fold.validation for fold in made])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(labels)))


@pytest.mark.parametrize("how", [{"fraction": 0.2}, {"folds": 3}])
def test_the_seed_decides_and_rows_are_shuffled(how: dict[str, float]) -> None:
    labels = labels_of([40, 40, 40])
    first, again, other = (validation_folds(labels, **how, seed=seed)[0] for seed in (3, 3, 4))  # type: ignore[arg-type]
    np.testing.assert_array_equal(first.fit, again.fit)
    np.testing.assert_array_equal(first.validation, again.validation)
    assert set(first.validation) != set(other.validation)
    for rows in (first.fit, first.validation):
        assert (np.diff(rows) < 0).any()


def test_a_rare_class_is_on_both_sides() -> None:
    labels = labels_of([200, 2, 2])
    for seed in range(10):
        for fraction in (0.05, 0.9):
            (fold,) = validation_folds(labels, fraction=fraction, seed=seed)
            assert_is_split(fold, labels)


@pytest.mark.parametrize(
    ("counts", "how", "said"),
    [
        (
            [5, 4],
            {"folds": 5},
            "5 folds need 5 training clips of every class and class 1 .from 0. has 4\nwhat helps: add clips, or remove",
        ),
        ([5, 1], {"folds": 2}, "class 1 .from 0. has 1\nwhat helps: add clips, or remove the class"),
        ([5, 4], {"folds": 1}, "1 folds; allowed: 2 to 4"),
        ([5, 1], {"fraction": 0.5}, "class 1 .from 0. has one training clip"),
        ([5, 5], {"fraction": 0.0}, "fraction of 0; allowed: above 0 and below 1"),
        ([5, 5], {"fraction": 1.0}, "fraction of 1; allowed"),
        ([5, 5], {"fraction": float("nan")}, "fraction of nan; allowed"),
        ([5, 5], {"fraction": 0.1}, "puts 1 of 10 clips aside; 2 classes need at least one clip each"),
    ],
)
def test_what_cannot_be_split_is_named(counts: list[int], how: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        validation_folds(labels_of(counts), **how, seed=0)  # type: ignore[arg-type]


def settings_named(message: str) -> list[dict[str, float]]:
    """What the message says to set, as arguments."""
    found = re.findall(r"--set validation\.(fraction|folds)=([0-9.]+)", message)
    return [{name: float(value) if name == "fraction" else int(value)} for name, value in found]


@pytest.mark.parametrize("how", [{"fraction": 0.2}, {"fraction": 0.9}, {"folds": 9}])
def test_the_settings_that_a_message_names_work(how: dict[str, float]) -> None:
    """60 clips of 20 classes."""
    labels = labels_of([3] * 20)
    with pytest.raises(UserError) as caught:
        validation_folds(labels, **how, seed=0, settings=True)  # type: ignore[arg-type]
    named = settings_named(str(caught.value))
    assert len(named) == (1 if "folds" in how else 2)
    for one in named:
        for fold in validation_folds(labels, **one, seed=0):  # type: ignore[arg-type]
            assert_is_split(fold, labels)
    with pytest.raises(UserError) as caught:
        validation_folds(labels, **how, seed=0)  # type: ignore[arg-type]
    assert "--set" not in str(caught.value)
    assert "add clips" in str(caught.value)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(2, 6), min_size=2, max_size=40), st.integers(1, 90))
def test_a_message_names_a_fraction_whenever_one_works(counts: list[int], percent: int) -> None:
    labels, fraction = labels_of(counts), percent / 100
    try:
        validation_folds(labels, fraction=fraction, seed=0, settings=True)
        return
    except UserError as error:
        named = settings_named(str(error))
    fractions = [one for one in named if "fraction" in one]
    possible = any(len(counts) <= round(p / 100 * len(labels)) <= len(labels) - len(counts) for p in range(1, 91))
    assert bool(fractions) == possible
    for one in named:
        for fold in validation_folds(labels, **one, seed=0):  # type: ignore[arg-type]
            assert_is_split(fold, labels)


eighths = st.integers(-8000, 8000).map(lambda n: n / 8)


@settings(deadline=None, max_examples=50)
@given(npst.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=eighths))
def test_scaler_standardises_what_it_was_fitted_on(x: np.ndarray) -> None:
    scaler = Scaler.fit(x)
    assert scaler.mean.dtype == scaler.std.dtype == np.float32
    y = scaler.transform(x)
    assert y.dtype == np.float32
    assert y.flags.c_contiguous
    wide = x.astype(np.float64)
    std = wide.std(axis=0)
    constant = np.ptp(x, axis=0) == 0
    np.testing.assert_allclose(scaler.mean, wide.mean(axis=0), rtol=1e-6, atol=1e-6 * abs(wide).max() + 1e-30)
    np.testing.assert_allclose(scaler.std[~constant], std[~constant], rtol=1e-5, atol=1e-30)
    assert (scaler.std[constant] == 1).all()
    assert (y[:, constant] == 0).all()


def test_scaler_crosses_its_blocks() -> None:
    x = np.random.default_rng(0).normal(3, 2, size=(9000, 3)).astype(np.float32)
    scaler = Scaler.fit(x)
    y = scaler.transform(x).astype(np.float64)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-6)
    other = x[:5] * 2
    np.testing.assert_allclose(scaler.transform(other), (other - x.mean(axis=0)) / x.std(axis=0), rtol=1e-4)


def test_scaler_keeps_precision_of_a_large_mean() -> None:
    x = (1000 + np.random.default_rng(0).normal(size=(20000, 1))).astype(np.float32)
    assert abs(Scaler.fit(x).std[0] - x.astype(np.float64).std()) < 1e-6


def test_scaler_takes_a_spread_below_float32_for_a_constant() -> None:
    x = np.array([[1e-45], [0]], np.float32)
    scaler = Scaler.fit(x)
    assert scaler.std[0] == 1
    assert np.isfinite(scaler.transform(x)).all()


def test_scaler_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scaler.fit(np.eye(2, dtype=np.float32)).mean = np.zeros(2, np.float32)  # type: ignore[misc]
