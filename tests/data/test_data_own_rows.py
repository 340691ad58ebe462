"""Validation rows of a trial's own: the rows that a seed gives, and what a trial with that seed sees."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_dataset

from avtune.core.errors import UserError
from avtune.data import own_rows
from avtune.data.dataset import Split
from avtune.data.own_rows import OwnRows
from avtune.data.prepare import Scalers, for_search, search_scalers

MADE = toy_dataset()
LABELS = MADE.train.labels
FRACTION = {"fraction": 0.2, "folds": None, "seed": 1, "reshuffle": True}


@given(seed=st.integers(0, 2**63 - 1))
@settings(max_examples=25, deadline=None)  # the first imports scikit-learn
def test_a_seed_gives_one_stratified_split(seed):
    own = OwnRows(0.2, None, None, 0, 48)
    fold, again = own.of(LABELS, seed), own.of(LABELS, seed)
    np.testing.assert_array_equal(fold.fit, again.fit)
    np.testing.assert_array_equal(fold.validation, again.validation)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.fit, fold.validation])), np.arange(len(LABELS)))
    assert np.bincount(LABELS[fold.validation]).tolist() == [4, 4, 4]


def test_other_seeds_give_other_rows():
    own = OwnRows(0.2, None, None, 0, 48)
    found = {tuple(np.sort(own.of(LABELS, seed).validation)) for seed in range(20)}
    assert len(found) == 20


def test_the_folds_of_a_seed_are_a_partition():
    parts = [OwnRows(None, 4, None, fold, 45).of(LABELS, 7).validation for fold in range(4)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(LABELS)))


def test_groups_stay_on_one_side():
    groups = np.arange(60) // 5
    for seed in range(10):
        fold = OwnRows(0.25, None, groups, 0, 45).of(LABELS, seed)
        assert not set(groups[fold.fit]) & set(groups[fold.validation])


def test_a_seed_without_a_split_is_tried_again(monkeypatch):
    tried = []

    def rarely(labels, *, seed, **more):
        tried.append(seed)
        if len(tried) < 3:
            raise UserError("no split keeps the groups whole")
        return ["found"]

    monkeypatch.setattr(own_rows, "validation_folds", rarely)
    assert OwnRows(0.2, None, None, 0, 48).of(LABELS, 5) == "found"
    assert len(set(tried)) == 3
    assert all(0 <= seed < 2**32 for seed in tried), "scikit-learn takes 32 bits"
    tried.clear()
    monkeypatch.setattr(own_rows, "_TRIES", 2)
    with pytest.raises(UserError, match="no split keeps the groups whole"):
        OwnRows(0.2, None, None, 0, 48).of(LABELS, 5)


def test_what_a_trial_sees_is_scaled_by_the_rows_that_it_trains_on():
    (prepared,) = for_search(MADE, **FRACTION)
    assert (prepared.rows, len(prepared.train), prepared.validation) == (48, 60, None)
    seen = prepared.for_seed(11)
    assert prepared.own_rows is not None
    fold = prepared.own_rows.of(LABELS, 11)
    scalers = Scalers.fit(MADE.train, fold.fit)
    assert (seen.rows, seen.own_rows) == (48, None)
    np.testing.assert_array_equal(seen.train.audio, scalers.audio.transform(MADE.train.audio[fold.fit]))
    np.testing.assert_array_equal(seen.validation.visual, scalers.visual.transform(MADE.train.visual[fold.validation]))
    np.testing.assert_array_equal(seen.validation.labels, LABELS[fold.validation])
    assert np.abs(seen.train.visual.mean(axis=0)).max() < 1e-5
    kept = search_scalers(MADE, fraction=0.2, folds=None, seed=1, trial_seed=11)
    np.testing.assert_array_equal(kept.audio.mean, scalers.audio.mean)
    assert seen.for_seed(12) is seen, "rows that are the same for all trials stay"


def test_equal_rows_and_groups_are_known_to_every_trial():
    twice = Split(*(np.concatenate([one, one[:6]]) for one in (MADE.train.audio, MADE.train.visual, LABELS)))
    (prepared,) = for_search(dataclasses.replace(MADE, train=twice), equal_rows=True, **FRACTION)
    for seed in range(10):
        inside = np.isin(np.arange(66), prepared.own_rows.of(twice.labels, seed).validation)
        assert (inside[:6] == inside[60:]).all()
