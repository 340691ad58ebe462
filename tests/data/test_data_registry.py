from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from avtune.core.errors import UserError
from avtune.data import REGISTRY, demo, describe, from_arrays, load, locate, problems, write_hdf5
from avtune.data.options import options_of


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no data folder."""
    monkeypatch.delenv("AVTUNE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sizes_are_the_papers() -> None:
    vegas, ave, made = REGISTRY["vegas"], REGISTRY["ave"], REGISTRY["demo"]
    assert (vegas.num_classes, vegas.num_train, vegas.num_test, vegas.file) == (
        10,
        22482,
        5621,
        "vegas_feature_norm.h5",
    )
    assert (ave.num_classes, ave.num_train, ave.num_test, ave.file) == (15, 1766, 189, "ave_feature_norm.h5")
    assert made.file is None
    for name, entry in REGISTRY.items():
        assert entry.name == name
        assert (entry.audio_dim, entry.visual_dim) == (128, 1024)
        assert entry.command == f"avtune search {name}"


def test_demo_is_what_the_registry_says() -> None:
    dataset = load("demo")
    assert dataset.digest == demo().digest
    assert problems(dataset) == []


@pytest.mark.parametrize("name", ["vegas", "ave"])
def test_a_file_that_is_not_there_says_where_to_get_it(no_data: Path, name: str) -> None:
    with pytest.raises(UserError) as caught:
        load(name)
    first, second = str(caught.value).split("\n")
    assert f"there is no {name}_feature_norm.h5 in data" in first
    assert "github.com/zhangjiwei-japan/cross-modal-visual-audio-retrieval" in first
    assert second == f"put it in data/ and type: avtune search {name}"
    assert locate(REGISTRY[name]) is None


def test_files_are_found_in_the_named_folder_then_in_data(no_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = demo(1), demo(2)
    (no_data / "data").mkdir()
    (no_data / "mine").mkdir()
    write_hdf5(first, no_data / "data" / "ave_feature_norm.h5")
    assert load("ave").digest == first.digest
    monkeypatch.setenv("AVTUNE_DATA", str(no_data / "mine"))
    assert load("ave").digest == first.digest
    write_hdf5(second, no_data / "mine" / "ave_feature_norm.h5")
    dataset = load("ave")
    assert dataset.digest == second.digest
    assert (dataset.name, dataset.source) == ("ave", str(no_data / "mine" / "ave_feature_norm.h5"))
    assert problems(dataset) == []


def test_other_sizes_are_a_problem_not_an_error(no_data: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"{view}_{split}": rng.normal(size=(8, 5)) for view in ("audio", "visual") for split in ("train", "test")}
    small = from_arrays({**arrays, "lab_train": [0, 1] * 4, "lab_test": [0, 1] * 4}, name="x", source="x")
    (no_data / "data").mkdir()
    write_hdf5(small, no_data / "data" / "vegas_feature_norm.h5")
    dataset = load("vegas")
    found = problems(dataset)
    assert len(found) == 5
    assert "8 training clips, where VEGAS has 22482" in found[1]
    assert describe(dataset)["problems"][:5] == found
    assert problems(small) == []
    assert problems(dataclasses.replace(small, name="demo")) == [], "a file of one's own may be called so"


def test_a_wrong_name_gives_the_nearest(no_data: Path) -> None:
    with pytest.raises(UserError) as caught:
        load("vegs")
    assert str(caught.value).startswith(
        "'vegs' is no dataset; did you mean 'vegas'?\nallowed: ave, demo or vegas, or a path"
    )
    with pytest.raises(UserError, match=r"'x' is no dataset\.\n"):
        load("x")


@pytest.mark.parametrize("spec", ["vegs.h5", "data/vegas", "./x", "x" * 5000 + ".h5", "", "~nobody-here/x.h5"])
def test_a_path_to_nothing_is_a_user_error(no_data: Path, spec: str) -> None:
    with pytest.raises(UserError):
        load(spec)


def test_a_class_file_does_not_go_with_a_name() -> None:
    with pytest.raises(UserError, match="'demo' is a data set that avtune knows; --classes goes with the path"):
        load("demo", options_of(classes="classes.csv"))
