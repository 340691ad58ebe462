from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.core.errors import UserError
from avtune.data import Dataset, Split, check, from_arrays

Arrays = dict[str, Any]


def build(arrays: Arrays, **more: Any) -> Dataset:
    return from_arrays(arrays, name="small", source="small.h5", **more)


def test_arrays_become_a_dataset(arrays: Arrays) -> None:
    dataset = build(arrays)
    assert (dataset.num_classes, dataset.audio_dim, dataset.visual_dim) == (3, 10, 3)
    assert (len(dataset.train), len(dataset.test)) == (12, 6)
    assert dataset.class_names == ("4", "7", "9")
    assert dataset.train.audio.dtype == dataset.test.visual.dtype == np.float32
    assert dataset.train.labels.dtype == np.int64
    values = np.array([4, 7, 9])
    np.testing.assert_array_equal(values[dataset.train.labels], arrays["lab_train"])
    np.testing.assert_array_equal(values[dataset.test.labels], arrays["lab_test"])
    np.testing.assert_array_equal(dataset.test.audio, arrays["audio_test"])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=6, unique=True),
    st.sampled_from(["int", "float", "text", "bytes", "column"]),
    st.randoms(use_true_random=False),
)
def test_labels_of_any_form_become_ranks(values: list[int], form: str, random: Any) -> None:
    drawn = values * 2 + [random.choice(values) for _ in range(5)]
    random.shuffle(drawn)
    expected = [sorted(values).index(v) for v in drawn]
    labels = {
        "int": np.array(drawn),
        "float": np.array(drawn, float),
        "text": np.array([str(v) for v in drawn]),
        "bytes": np.array([str(v).encode() for v in drawn]),
        "column": np.array(drawn)[:, None],
    }[form]
    x = np.zeros((len(drawn), 2))
    six = {"audio_train": x, "visual_train": x, "audio_test": x, "visual_test": x}
    dataset = build({**six, "lab_train": labels, "lab_test": labels})
    assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == expected
    assert dataset.class_names == tuple(str(v) for v in sorted(values))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8", "i1", "u2", "i8", "?"])
def test_features_of_any_real_dtype_become_float32(arrays: Arrays, dtype: str) -> None:
    given = (arrays["audio_train"] * 3).astype(dtype)
    train = build({**arrays, "audio_train": given}).train
    assert train.audio.dtype == np.dtype("=f4")
    assert train.audio.flags.c_contiguous
    np.testing.assert_array_equal(train.audio, given.astype(np.float32))


def test_fortran_order_becomes_c_order(arrays: Arrays) -> None:
    train = build({**arrays, "visual_train": np.asfortranarray(arrays["visual_train"])}).train
    assert train.visual.flags.c_contiguous
    np.testing.assert_array_equal(train.visual, arrays["visual_train"])


def test_take_copies_rows_in_order(arrays: Arrays) -> None:
    train = build(arrays).train
    rows = np.array([5, 0, 5])
    taken = train.take(rows)
    assert len(taken) == 3
    np.testing.assert_array_equal(taken.audio, train.audio[rows])
    np.testing.assert_array_equal(taken.labels, train.labels[rows])
    taken.audio[:] = 0
    assert train.audio[5].any()


def test_digest_is_of_shapes_dtypes_and_bytes(arrays: Arrays) -> None:
    dataset = build(arrays)
    sha = hashlib.sha256()
    for split in (dataset.train, dataset.test):
        for array, dtype in ((split.audio, "<f4"), (split.visual, "<f4"), (split.labels, "<i8")):
            sha.update(f"{array.shape} {dtype};".encode() + array.astype(dtype).tobytes())
    assert dataset.digest == sha.hexdigest()
    assert build(arrays, class_names=["a", "b", "c"]).digest == dataset.digest
    assert dataclasses.replace(dataset, name="other").digest == dataset.digest


@pytest.mark.parametrize("key", ["audio_train", "visual_train", "lab_train", "audio_test", "visual_test", "lab_test"])
def test_digest_changes_with_every_array(arrays: Arrays, key: str) -> None:
    before = build(arrays).digest
    changed = arrays[key].copy()
    if key.startswith("lab"):
        changed[0] = 4 if changed[0] != 4 else 7
    else:
        changed[-1, -1] += 1
    assert build({**arrays, key: changed}).digest != before


def test_class_names_follow_the_labels(arrays: Arrays) -> None:
    assert build(arrays, class_names=["a", "b", "c"]).class_names == ("a", "b", "c")
    longer = [f"name {v}" for v in range(12)]
    assert build(arrays, class_names=longer).class_names == ("name 4", "name 7", "name 9")


def with_value(array: np.ndarray, index: Any, value: Any) -> np.ndarray:
    copy = array.copy()
    copy[index] = value
    return copy


def put(index: Any, value: Any, dtype: Any = None) -> Callable[[np.ndarray], np.ndarray]:
    """What writes `value` at `index` of a copy, of another dtype if one is given."""

    def spoil(array: np.ndarray) -> np.ndarray:
        copy = array.astype(dtype or array.dtype)
        copy[index] = value
        return copy

    return spoil


UNUSABLE = [
    ("audio_train", put((5, 2), np.nan), "1 value is NaN or infinite, the first in row 5, column 2"),
    ("visual_test", put((slice(1, 3), 0), np.inf), "2 values are NaN or infinite, the first in row 1, column 0"),
    (
        "audio_test",
        put((3, 1), 1e39, float),
        "1 value is too large for float32 arithmetic (at most 1e+18), the first in row 3, column 1",
    ),
    ("visual_train", lambda x: x.astype(complex), "holds complex numbers"),
    ("visual_train", lambda x: x.astype(str), "holds text"),
    ("visual_train", lambda x: x.astype("M8[s]"), "holds datetime64"),
    ("audio_train", lambda x: x[:, 0], "has shape (12,)"),
    (
        "audio_train",
        lambda x: x[:, None],
        "has shape (12, 1, 10); features are [clips, dims]; pool over its other axes with --pool mean",
    ),
    ("audio_train", lambda x: x[:0], "has shape (0, 10), so it is empty"),
    ("visual_test", lambda x: x[:, :0], "has shape (6, 0), so it is empty"),
    ("audio_train", lambda x: x[:-1], "has 11 rows and small.h5: lab_train has 12 labels"),
    ("visual_test", lambda x: x[:-2], "has 4 rows and small.h5: lab_test has 6 labels"),
    ("visual_train", lambda x: x[:, :2], "has 2 dims and small.h5: visual_test has 3"),
    ("lab_train", put(2, 4.5, float), "1 label is not whole, the first in row 2: 4.5"),
    ("lab_train", put([1, 3], np.nan, float), "2 labels are not whole, the first in row 1: nan"),
    ("lab_test", put(0, "Dog", object), "lab_test holds words and small.h5: lab_train numbers"),
    ("lab_test", put(0, b"\xff", object), "lab_test holds words and small.h5: lab_train numbers"),
    ("lab_test", put(0, 2**64 - 1, np.uint64), "1 label is not whole, the first in row 0"),
    ("lab_train", lambda y: y.astype(complex), "holds complex128"),
    (
        "lab_train",
        lambda y: np.eye(3)[y % 3],
        "has shape (12, 3), small.h5: lab_test has shape (6,); the labels of all",
    ),
    ("lab_test", lambda y: y[:0], "is empty"),
    ("lab_test", put([0, 1], [11, 12]), "has 2 labels that lab_train lacks: 11, 12"),
    ("lab_train", put(0, 21), "has too few clips of '21' (1 clip); a validation split needs two"),
]


@pytest.mark.parametrize(("key", "spoil", "said"), UNUSABLE)
def test_what_is_unusable_is_named(arrays: Arrays, key: str, spoil: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        build({**arrays, key: spoil(arrays[key])})
    message = str(caught.value)
    assert message.startswith(f"small.h5: {key}")
    assert said in message
    assert message.count("\n") <= 1


def test_one_class_is_refused(arrays: Arrays) -> None:
    arrays["lab_train"][:] = arrays["lab_test"][:] = 3
    with pytest.raises(UserError, match="lab_train holds one class only"):
        build(arrays)


def test_read_only_features_are_reported_not_written(arrays: Arrays) -> None:
    arrays["audio_train"][0, 0] = np.nan
    arrays["audio_train"].setflags(write=False)
    with pytest.raises(UserError, match="row 0, column 0"):
        build(arrays)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "b"], "class_names has 2 names for 3 classes, labels 4 to 9"),
        (["a", "b", "a"], "class_names repeats 'a'"),
        (["a", "b", " "], "class_names holds ' '"),
        (["a", "b", "\x1b[2J"], r"class_names holds '\\x1b\[2J'"),
    ],
)
def test_wrong_class_names_are_refused(arrays: Arrays, names: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(arrays, class_names=names)


def test_check_refuses_what_was_not_converted(arrays: Arrays) -> None:
    good = build(arrays)
    check(good)
    train = good.train
    for spoiled, said in (
        (Split(train.audio.astype(np.float64), train.visual, train.labels), "audio_train must be float32"),
        (Split(train.audio, train.visual, train.labels.astype(np.int32)), "lab_train must be int64"),
        (Split(train.audio, train.visual, train.labels + 1), r"lab_train must lie in 0\.\.2"),
        (Split(train.audio, train.visual, train.labels - 1), r"lab_train must lie in 0\.\.2"),
        (Split(train.audio, train.visual, np.minimum(train.labels, 1)), r"too few clips of '9' \(0 clips\)"),
    ):
        with pytest.raises(UserError, match=said):
            check(dataclasses.replace(good, train=spoiled))


def clips(arrays: Arrays, **more: Any) -> Dataset:
    """What a program makes of the arrays."""
    splits = {
        split: tuple(arrays[f"{one}_{split}"] for one in ("audio", "visual", "lab")) for split in ("train", "test")
    }
    return Dataset.from_arrays(**(splits | more))


def test_names_of_numpy_become_plain_text_that_files_can_hold(arrays: Arrays) -> None:
    names = np.array(["dog", "rain", "siren"])
    for listed in (names, list(names), tuple(names)):
        made = clips(arrays, class_names=listed, name=np.str_("noise"), views=tuple(np.array(["image", "text"])))
        assert made.class_names == ("dog", "rain", "siren")
        assert {type(one) for one in (*made.class_names, made.name, *made.views)} == {str}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            {"class_names": {4: "dog", 7: "rain", 9: "siren"}},
            "class_names is a dict; give a list of names in",
        ),
        ({"class_names": "abc"}, "class_names is a str; give a list of names"),
        ({"class_names": 3}, "class_names is a int; give a list of names"),
        ({"class_names": ["dog", "rain", 3]}, "class_names holds 3, which is a int; give a list of names"),
        ({"name": 3}, "name is 3; give the name of the dataset as text"),
        ({"name": " "}, "name is ' '; give the name"),
        ({"views": ("image", "image")}, "give two different names"),
    ],
)
def test_names_that_are_none_are_refused(arrays: Arrays, named: Arrays, said: str) -> None:
    with pytest.raises(UserError, match=said):
        clips(arrays, **named)


def test_one_array_of_all_labels_is_named_once(arrays: Arrays) -> None:
    arrays["lab_test"][:2] = 11, 12
    with pytest.raises(UserError, match=r"small\.h5: y has 2 labels that the training clips lack: 11, 12"):
        build(arrays, keys={"lab_train": "y", "lab_test": "y"})


def test_features_with_a_time_axis_say_what_a_program_does(arrays: Arrays) -> None:
    arrays["audio_train"] = arrays["audio_train"][:, None]
    with pytest.raises(UserError, match=r"has shape \(12, 1, 10\).* in Python: x\.mean\(axis=1\)"):
        clips(arrays)
