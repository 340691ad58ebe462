"""What is said of features whose columns are the clips."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_files import clips

from avtune.core.errors import UserError
from avtune.data import Dataset, read
from avtune.data.options import options_of

MADE = clips(train=24, test=9)
SIX = {
    f"{view}_{split}": MADE[f"{key}_{split}"]
    for view, key in (("audio", "a"), ("visual", "b"), ("lab", "y"))
    for split in ("train", "test")
}
WHOLE = {"audio": MADE["a_train"], "visual": MADE["b_train"], "labels": MADE["y_train"]}


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, options_of(**options))
    assert str(caught.value).count("\n") <= 1
    return str(caught.value)


def folder_of(folder: Path, arrays: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.mark.parametrize("as_folder", [True, False])
@pytest.mark.parametrize("six", [True, False])
def test_the_map_that_turns_arrays_is_printed_whole(tmp_path: Path, six: bool, as_folder: bool) -> None:
    arrays = SIX if six else WHOLE
    bad = {key: value.T if key.startswith("audio") else value for key, value in arrays.items()}
    path = folder_of(tmp_path / "a", bad) if as_folder else tmp_path / "a.npz"
    if not as_folder:
        np.savez(path, **bad)
    more: dict[str, Any] = {} if six else {"test_fraction": 0.25}
    message = refused(path, **more)
    assert "the columns seem to be the clips" in message
    found = re.search(r"--map (\S+)(.*)", message)
    assert found is not None
    assert found[2] == ("" if six else " --test-fraction 0.25")
    dataset = read(path, options_of(map=found[1], **more))
    if six:
        np.testing.assert_array_equal(dataset.train.audio, SIX["audio_train"])
    assert (dataset.views, dataset.audio_dim) == (("audio", "visual"), 10)
    wrong = (
        found[1]
        .replace("visual=visual", "visual=visual.T")
        .replace("visual_test=visual_test", "visual_test=visual_test.T")
    )
    again = re.search(r"--map (\S+)", refused(path, map=wrong, **more))
    assert again is not None
    assert again[1] == found[1]


def test_beside_a_csv_the_lines_of_python_are_printed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", {"audio": WHOLE["audio"].T, "visual": WHOLE["visual"]})
    (folder / "clips.csv").write_text("\n".join(["label", *map(str, WHOLE["labels"])]))
    assert "numpy.save('audio.npy', numpy.load('audio.npy').T)" in refused(folder, test_fraction=0.25)


def test_a_program_is_told_to_give_its_array_transposed() -> None:
    train, test = (
        [made[f"{key}_{split}"] for key in ("audio", "visual", "lab")] for made in [SIX] for split in ("train", "test")
    )
    with pytest.raises(UserError, match=r"audio of train has 10 rows and (.|\n)*give it transposed: x\.T"):
        Dataset.from_arrays(train=(train[0].T, *train[1:]), test=test)
