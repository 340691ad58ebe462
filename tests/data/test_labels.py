"""Labels as tables hold them: words, lists, cells that hold nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from avtune.core.errors import UserError
from avtune.data.dataset import Dataset
from avtune.data.views import read_views

WORDS = ["dog", "rain", "siren"] * 6


def made(labels: Any) -> Dataset:
    draw = np.random.default_rng(0)
    audio, visual = draw.normal(size=(18, 4)), draw.normal(size=(18, 5))
    return Dataset.from_arrays(train=(audio, visual, labels), test=(audio[:9], visual[:9], labels[:9]))


def refused(labels: Any) -> str:
    with pytest.raises(UserError) as caught:
        made(labels)
    return str(caught.value)


@pytest.mark.parametrize("nothing", [None, float("nan"), np.nan, pd.NA, pd.NaT])
def test_a_clip_without_a_label_is_refused(nothing: Any) -> None:
    labels = pd.Series(WORDS, dtype=object)
    labels[[3, 6, 7]] = nothing
    assert "labels of train: 3 of 18 clips have no label, the first in row 3" in refused(labels)


def test_a_missing_label_as_text_is_no_class() -> None:
    assert "the label in row 3 is 'nan', a missing one" in refused([*WORDS[:3], "nan", *WORDS[4:]])


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, np.array])
def test_a_column_of_lists_is_several_labels_a_clip(kind: Any) -> None:
    words = pd.Series([kind(["cat", "dog"]), kind(["dog"]), kind(["rain"])] * 6)
    assert made(words).class_names == ("cat", "dog", "rain")
    assert made(words).train.labels[:3].tolist() == [[True, True, False], [False, True, False], [False, False, True]]
    numbers = pd.Series([kind([1, 2]), kind([2]), kind([7])] * 6)
    np.testing.assert_array_equal(made(numbers).train.labels, made(words).train.labels)
    assert made(numbers).class_names == ("1", "2", "7")


@pytest.mark.parametrize("row", [0, 1])
def test_a_row_without_a_list_is_named(row: int) -> None:
    labels = pd.Series([["dog"], ["dog"], ["rain"]] * 6)
    labels[row] = "dog"
    assert f"has no list of labels in row {row}, where other rows have one: 'dog'" in refused(labels)


def test_what_is_no_label_is_named() -> None:
    assert "has a dict in row 2; labels are whole numbers or words" in refused(pd.Series([*WORDS[:2], {}, *WORDS[3:]]))


@pytest.mark.parametrize("kind", [int, float, object])
def test_numbers_of_any_kind_are_the_same_labels(kind: Any) -> None:
    numbers = pd.Series(np.arange(18) % 3).astype(float if kind is object else kind).astype(kind)
    np.testing.assert_array_equal(made(numbers).train.labels, np.arange(18) % 3)


def test_words_of_a_file_of_views(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", audio=np.ones((18, 4)), labels=WORDS)
    found = read_views(tmp_path / "a.npz", {"audio": 4, "visual": 5})
    np.testing.assert_array_equal(found.labels, np.arange(18) % 3)
    assert found.names == {0: "dog", 1: "rain", 2: "siren"}


def test_columns_of_one_clip(tmp_path: Path) -> None:
    """One row of five columns is a clip of a file that has one, and not five labels."""
    for hot, wanted in (([0, 1, 0, 0, 1], [[False, True, False, False, True]]), ([0, 0, 1, 0, 0], [2])):
        np.savez(tmp_path / "a.npz", audio=np.ones((1, 4)), labels=[hot])
        found = read_views(tmp_path / "a.npz", {"audio": 4, "visual": 5})
        np.testing.assert_array_equal(found.labels, wanted)


@pytest.mark.parametrize(
    ("train", "test", "said"), [(1, 0, "add 1 to"), (0, 1, "subtract 1 from"), (0, 5, "remove those")]
)
def test_labels_from_0_beside_labels_from_1_are_said_to_be_so(train: int, test: int, said: str) -> None:
    draw, labels = np.random.default_rng(0), np.arange(18) % 3
    audio, visual = draw.normal(size=(18, 4)), draw.normal(size=(18, 5))
    with pytest.raises(UserError, match=said) as caught:
        Dataset.from_arrays(train=(audio, visual, labels + train), test=(audio, visual, labels + test))
    assert ("the other at 1 (NumPy, MATLAB)" in str(caught.value)) == (said != "remove those")
