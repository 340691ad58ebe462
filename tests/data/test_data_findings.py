from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.data import Dataset, Findings, describe, examine, from_arrays

Arrays = dict[str, Any]


def made(arrays: Arrays) -> Dataset:
    return from_arrays(arrays, name="small", source="small.h5")


def found(arrays: Arrays) -> Findings:
    return examine(made(arrays))


def copy_clip(arrays: Arrays, from_split: str, row: int, to_split: str, to: int) -> None:
    for view in ("audio", "visual"):
        arrays[f"{view}_{to_split}"][to] = arrays[f"{view}_{from_split}"][row]


def test_test_clips_that_are_training_clips_are_named(arrays: Arrays) -> None:
    copy_clip(arrays, "train", 11, "test", 4)
    copy_clip(arrays, "train", 2, "test", 1)
    said = found(arrays)
    assert said.shared == ((1, 2), (4, 11))
    assert said.problems == (
        "2 of 6 test clips have the same features as a training clip: "
        "test clip 1 = training clip 2, test clip 4 = training clip 11",
    )
    facts = describe(made(arrays))
    assert facts["duplicates"] == [[1, 2], [4, 11]]
    assert facts["train_duplicates"] == facts["test_duplicates"] == {"count": 0, "pairs": []}


def test_only_the_first_pairs_are_in_the_sentence(arrays: Arrays) -> None:
    for row in range(6):
        copy_clip(arrays, "train", row, "test", row)
    (sentence,) = found(arrays).problems
    assert sentence.startswith("6 of 6 test clips have")
    assert sentence.endswith("test clip 2 = training clip 2 and 3 more")
    assert len(describe(made(arrays))["duplicates"]) == 6


def test_repeats_within_a_split_are_counted_and_bounded(arrays: Arrays) -> None:
    for view in ("audio", "visual"):
        one = arrays[f"{view}_train"][:1]
        arrays[f"{view}_train"] = np.concatenate([arrays[f"{view}_train"], np.repeat(one, 1500, axis=0)])
    arrays["lab_train"] = np.concatenate([arrays["lab_train"], np.resize([4, 7, 9], 1500)])
    copy_clip(arrays, "test", 0, "test", 5)
    said = found(arrays)
    assert said.problems == ("1 of 6 test clips has the same features as another test clip: test clip 5 = test clip 0",)
    assert any(note.startswith("1500 of 1512 training clips have the same features as another") for note in said.notes)
    facts = describe(made(arrays))
    assert facts["test_duplicates"] == {"count": 1, "pairs": [[5, 0]]}
    assert facts["train_duplicates"]["count"] == 1500
    assert facts["train_duplicates"]["pairs"] == [[row, 0] for row in range(12, 1012)]


def test_a_constant_view_is_a_problem_and_a_constant_column_a_note(arrays: Arrays) -> None:
    arrays["audio_train"][:, 3] = 0.25
    assert found(arrays).problems == ()
    assert "1 audio column constant in the training split" in found(arrays).notes
    arrays["audio_train"][:] = arrays["audio_train"][0]
    arrays["visual_test"][:] = arrays["visual_test"][0]
    assert found(arrays).problems == (
        "the audio view is constant in the training split (all 10 columns)",
        "the visual view is constant in the test split (all 3 columns)",
    )


def test_features_all_zero_are_a_problem_when_they_are_many() -> None:
    rng = np.random.default_rng(0)
    arrays: Arrays = {f"{v}_{s}": rng.normal(size=(300, 4)) for v in ("audio", "visual") for s in ("train", "test")}
    arrays |= {"lab_train": np.arange(300) % 2, "lab_test": np.arange(300) % 2}
    arrays["visual_test"][:2] = 0
    assert found(arrays).problems == ()
    assert found(arrays).notes == ("2 of 300 test clips have visual features that are all zero",)
    arrays["visual_test"][:3] = 0
    assert found(arrays).problems == ("3 of 300 test clips have visual features that are all zero",)
    assert found(arrays).notes == ()


def test_classes_that_the_test_split_lacks_are_a_problem(arrays: Arrays) -> None:
    arrays["lab_test"][arrays["lab_test"] == 9] = 4
    assert found(arrays).problems == ("1 of 3 classes has no test clip: 9",)


def test_minus_zero_is_zero(arrays: Arrays) -> None:
    copy_clip(arrays, "train", 3, "test", 0)
    arrays["audio_train"][3, 0], arrays["audio_test"][0, 0] = 0.0, -0.0
    assert found(arrays).shared == ((0, 3),)


def test_a_dataset_is_looked_at_once(arrays: Arrays) -> None:
    dataset = made(arrays)
    assert examine(dataset) is examine(dataset)
    assert examine(replace(dataset)) is not examine(dataset)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_pairs_are_those_of_the_double_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}
    for split, count in (("train", 12), ("test", 6)):
        arrays |= {f"{view}_{split}": rng.integers(0, 2, size=(count, 2)) for view in ("audio", "visual")}
        arrays[f"lab_{split}"] = np.arange(count) % 2
    said = found(arrays)
    train, test = (
        [[*arrays[f"audio_{split}"][row], *arrays[f"visual_{split}"][row]] for row in range(count)]
        for split, count in (("train", 12), ("test", 6))
    )
    assert said.shared == tuple((row, train.index(clip)) for row, clip in enumerate(test) if clip in train)
    for clips, pairs in ((train, said.repeated_train), (test, said.repeated_test)):
        assert pairs == tuple((row, clips.index(clip)) for row, clip in enumerate(clips) if clips.index(clip) < row)
