"""One file of all clips, `audio visual labels`, and what lies beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from lab_files import clips

from avtune.core.errors import UserError
from avtune.data import read
from avtune.data.options import options_of
from avtune.data.views import is_dataset

A, B, Y = clips(train=24, test=0).values()
MARKS = np.repeat(["train", "test"], [18, 6])
WHOLE: dict[str, Any] = {"audio": A, "visual": B, "labels": Y}


def write(path: Path, arrays: dict[str, Any]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, arrays)
    else:
        with h5py.File(path, "w") as file:
            for key, value in arrays.items():
                file[key] = value.astype("S") if value.dtype.kind == "U" else value
    return path


@pytest.mark.parametrize("end", [".npz", ".h5", ".mat"])
def test_audio_visual_labels_are_read_from_every_kind_of_file(tmp_path: Path, end: str) -> None:
    names = np.array(["dog", "rain", "siren"])
    more = {"split": (MARKS == "train").astype(int), "groups": np.arange(24) // 2, "ids": np.arange(24)}
    path = write(tmp_path / f"a{end}", {**WHOLE, "labels": names[Y] if end == ".npz" else Y, **more})
    dataset = read(path)
    np.testing.assert_array_equal(dataset.test.audio, A[18:])
    np.testing.assert_array_equal(dataset.test.labels, Y[18:])
    assert dataset.views == ("audio", "visual")
    assert dataset.groups is not None
    assert is_dataset(path)


def test_without_a_split_the_test_clips_are_drawn_and_the_file_is_also_one_of_views(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", WHOLE)
    with pytest.raises(UserError, match="has no test split; add --test-fraction"):
        read(path)
    dataset = read(path, options_of(test_fraction=0.25, views="sound,image"))
    assert (len(dataset.test), dataset.views) == (6, ("sound", "image"))
    assert dataset.digest == read(path, options_of(map="s=audio,i=visual,labels=labels", test_fraction=0.25)).digest
    assert not is_dataset(path)
