"""What is said of a file, or a group, for each clip."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from avtune.core.errors import UserError
from avtune.data import read
from avtune.data.single_clips import single_clips

ROW = np.ones(5, np.float32)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).count("\n") <= 1
    return str(caught.value)


@pytest.mark.parametrize("form", ["clip{}_{}", "{1}-clip{0}", "{1}/clip{0}", "clip{}/{}"])
@pytest.mark.parametrize("with_csv", [True, False])
def test_single_clips_are_to_be_stacked(tmp_path: Path, form: str, with_csv: bool) -> None:
    for clip in range(5):
        for view in ("audio", "visual"):
            file = tmp_path / f"{form.format(clip, view)}.npy"
            file.parent.mkdir(exist_ok=True)
            np.save(file, ROW)
    if with_csv:
        (tmp_path / "meta.csv").write_text("id,label\n" + "".join(f"clip{clip},{clip % 2}\n" for clip in range(5)))
    message = refused(tmp_path)
    assert "holds arrays of single clips, e.g. " in message
    assert "numpy.save('audio.npy', numpy.stack([...])); numpy.save('visual.npy', numpy.stack([...]))" in message


def test_a_group_a_clip(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for clip in range(5):
            file[f"clip{clip}/audio"] = ROW
            file[f"clip{clip}/visual"] = ROW
    message = refused(tmp_path / "a.h5")
    assert "holds arrays of single clips, e.g. clip0/audio" in message


def test_too_few_arrays_of_features(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        np.save(tmp_path / f"{name}.npy", ROW)
    np.save(tmp_path / "labels.npy", np.arange(5))
    assert "has 0 arrays of features; two are needed" in refused(tmp_path)


@pytest.mark.parametrize(
    "names", ["audio_train visual_train lab_train audio_test", "view_0 view_1 view_2 view_3", "a b c d e f", ""]
)
def test_arrays_of_all_clips_are_none(names: str) -> None:
    assert single_clips(names.split()) == ()
