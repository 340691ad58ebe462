"""`--map`: any file of arrays, and what is proposed of one that has no known layout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from lab_files import clips, save_mat73

from avtune.core.errors import UserError
from avtune.data import examine, read
from avtune.data.options import options_of, recorded_options
from avtune.workflows.dataset_facts import dataset_line


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, options_of(**options))
    assert str(caught.value).count("\n") <= 1
    return str(caught.value)


def write(path: Path, arrays: dict[str, Any]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value
    return path


MADE = clips()
NAMED = [  # the arrays of `MADE` in its order: a_train, b_train, y_train, a_test, b_test, y_test
    "X_img_tr X_txt_tr Y_tr X_img_te X_txt_te Y_te",
    "trainAudio trainVideo trainLabels testAudio testVideo testLabels",
    "train/vggish train/clip train/label test/vggish test/clip test/label",
    "ImgTrain TagTrain LabTrain ImgTest TagTest LabTest",
]
VIEWS = [("image", "text"), ("audio", "visual"), ("audio", "clip"), ("image", "text")]


@pytest.mark.parametrize(("names", "views"), list(zip(NAMED, VIEWS, strict=True)))
def test_what_is_proposed_of_an_unknown_file_reads_it(tmp_path: Path, names: str, views: Any) -> None:
    path = write(tmp_path / "a.h5", dict(zip(names.split(), MADE.values(), strict=True)))
    message = refused(path)
    assert "which is no layout that is known" in message
    found = re.search(r"--map (\S+); docs/data.md", message)
    assert found is not None
    dataset = read(path, options_of(map=found[1]))
    assert dataset.views == views
    np.testing.assert_array_equal(dataset.train.audio, MADE["a_train"])
    np.testing.assert_array_equal(dataset.test.visual, MADE["b_test"])
    np.testing.assert_array_equal(dataset.test.labels, MADE["y_test"])
    assert dataset.options == {"map": found[1]}


def test_arrays_of_all_clips_are_proposed_with_a_test_fraction(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", {"sound": MADE["a_train"], "pixels": MADE["b_train"], "target": MADE["y_train"]})
    message = refused(path)
    assert "--map audio=sound,pixels=pixels,labels=target --test-fraction 0.2" in message
    dataset = read(path, options_of(map="audio=sound,pixels=pixels,labels=target", test_fraction=0.34))
    assert (len(dataset.train), len(dataset.test)) == (8, 4)


def test_the_nearest_layout_is_named(tmp_path: Path) -> None:
    arrays = {"train_img": MADE["a_train"], "train_txt": MADE["b_train"], "train_img_lab": MADE["y_train"]}
    arrays |= {"test_img": MADE["a_test"], "test_text": MADE["b_test"], "test_img_labels": MADE["y_test"]}
    path = write(tmp_path / "a.h5", arrays)
    message = refused(path)
    assert "has no key 'test_txt', 'test_img_lab'; did you mean 'test_text'?; the layout image-text (DSCMR)" in message


def test_what_map_lacks_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", dict(MADE))
    full = "image_train=a_train,text_train=b_train,lab_train=y_train,image_test=a_test,text_test=b_test,lab_test=y_test"
    assert read(path, options_of(map=full)).views == ("image", "text")
    assert "names no text_test, lab_test; add text_test=KEY,lab_test=KEY" in refused(
        path, map="image_train=a_train,text_train=b_train,lab_train=y_train,image_test=a_test"
    )
    assert "names the view image; two are needed" in refused(path, map="image_train=a_train,lab_train=y_train")
    assert "has no 'a_trian'; did you mean 'a_train'?" in refused(path, map=full.replace("=a_train", "=a_trian"))
    assert "without a split beside others" in refused(path, map=full + ",group=y_train")
    assert "names the views image and text, and --views a,b" in refused(path, map=full, views="a,b")
    for words, said in (("x", "give WHAT=KEY"), ("a=b,a=c", "names a twice")):
        with pytest.raises(UserError, match=said):
            options_of(map=words)


def test_turned_arrays_and_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", {key: value.T for key, value in MADE.items()})
    keys = {"image": "a", "text": "b"}
    text = ",".join(f"{view}_{split}={key}_{split}.T" for view, key in keys.items() for split in ("train", "test"))
    dataset = read(path, options_of(map=text + ",lab_train=y_train,lab_test=y_test"))
    np.testing.assert_array_equal(dataset.test.visual, MADE["b_test"])
    save_mat73(tmp_path / "a.mat", {"feats": [MADE["a_train"], MADE["b_train"]], "who": MADE["y_train"] + 1})
    dataset = read(tmp_path / "a.mat", options_of(map="image=feats{1},text=feats{2},labels=who", test_fraction=0.34))
    assert (dataset.audio_dim, dataset.visual_dim) == (10, 7)
    assert "feats has 2 cells" in refused(tmp_path / "a.mat", map="image=feats{1},text=feats{3},labels=who")


def test_an_option_that_a_layout_does_not_take_is_refused(tmp_path: Path) -> None:
    six = {
        f"{view}_{split}": MADE[f"{key}_{split}"]
        for view, key in (("audio", "a"), ("visual", "b"), ("lab", "y"))
        for split in ("train", "test")
    }
    path = write(tmp_path / "a.h5", six)
    assert read(path, options_of(views="sound,image")).views == ("sound", "image")
    assert "is of the layout six keys, which takes no --classes" in refused(path, classes="c.csv")
    assert "takes no --test-fraction" in refused(path, test_fraction=0.2)
    for views in ("a", "a,a", "a,b,c", "a b,c", "a,"):
        with pytest.raises(UserError, match="--views names"):
            options_of(views=views)


def test_a_given_validation_split_and_groups_of_six_keys(tmp_path: Path) -> None:
    made = clips(val=6)
    names = {"audio": "a", "visual": "b", "lab": "y"}
    six = {
        f"{view}_{split}": made[f"{key}_{split}"] for view, key in names.items() for split in ("train", "val", "test")
    }
    groups = {"group_train": np.arange(12) // 2, "group_val": np.arange(6) // 2 + 6, "group_test": np.arange(6) + 8}
    path = write(tmp_path / "a.h5", {**six, **groups})
    dataset = read(path)
    assert dataset.validation is not None
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]
    assert dataset.leaked == 1
    assert dataset.digest != read(write(tmp_path / "b.h5", six)).digest
    del six["visual_val"]
    assert "has audio_val and no visual_val" in refused(write(tmp_path / "c.h5", six))
    assert "group_val is missing, where" in refused(
        write(tmp_path / "d.h5", {**six, "visual_val": made["b_val"], "group_train": groups["group_train"]})
    )


def test_validation_arrays_are_never_ignored_in_silence(tmp_path: Path) -> None:
    made = clips(val=6)
    names = {"audio": "a", "visual": "b", "lab": "y"}
    for end in ("valid", "validation"):
        ends = {"train": "train", "val": end, "test": "test"}
        six = {f"{view}_{ends[split]}": made[f"{key}_{split}"] for view, key in names.items() for split in ends}
        dataset = read(write(tmp_path / f"{end}.h5", six))
        assert dataset.validation is not None
        assert len(dataset.validation) == 6
        assert dataset.unread == ()
    del six["visual_validation"]
    assert "has audio_validation and no visual_validation" in refused(write(tmp_path / "c.h5", six))
    path = write(tmp_path / "d.npz", made)
    full = "image_train=a_train,text_train=b_train,lab_train=y_train,image_test=a_test,text_test=b_test,lab_test=y_test"
    dataset = read(path, options_of(map=full))
    assert dataset.unread == ("a_val", "b_val", "y_val")
    assert "arrays that are not read: a_val, b_val, y_val" in examine(dataset).notes
    whole = read(path, options_of(map=f"{full},image_val=a_val,text_val=b_val,lab_val=y_val"))
    assert whole.unread == ()
    assert whole.validation is not None


def test_options_are_recorded_and_read_again() -> None:
    given = options_of(views="image,text", pool="mean,std", test_fraction=0.2, map="a=b,c=d", classes="x.csv")
    assert recorded_options({"options": given.given()}, "study.yaml") == given
    assert recorded_options({}, "study.yaml") == options_of()
    assert given.given()["classes"] == str(Path.cwd() / "x.csv")
    for damaged in ([], {"x": 1}, {"views": 3}, {"test_fraction": "0.2"}):
        with pytest.raises(UserError, match=r"study\.yaml is damaged: dataset\.options is"):
            recorded_options({"options": damaged}, "study.yaml")


def test_a_share_is_a_number_that_a_settings_file_can_hold() -> None:
    for given in (np.float64(0.25), np.float32(0.25), 0.25):
        assert type(options_of(test_fraction=given).test_fraction) is float
    for wrong, said in (("0.2", "is '0.2'"), (True, "is True"), (1.5, "is 1.5"), (float("nan"), "is nan")):
        with pytest.raises(UserError, match=f"--test-fraction {said}; allowed: a number above 0 and below 1"):
            options_of(test_fraction=wrong)


A, B, Y = clips(train=24, test=0).values()
MARKS = np.repeat(["train", "test"], [16, 8])
WHOLE = {"sound": A, "pixels": B}
VIDEOS = np.arange(24) // 2


@pytest.mark.parametrize(
    ("arrays", "proposed"),
    [
        ({**WHOLE, "target": Y, "split": MARKS}, "audio=sound,pixels=pixels,labels=target,split=split"),
        (
            {**WHOLE, "target": Y, "groups": VIDEOS},
            "audio=sound,pixels=pixels,labels=target,groups=groups --test-fraction 0.2",
        ),
        (
            {"X_audio": A, "X_video": B, "y": Y, "split": MARKS, "group": VIDEOS},
            "audio=X_audio,visual=X_video,labels=y,split=split,groups=group",
        ),
        ({"is_train": MARKS == "train", **WHOLE, "y": Y}, "audio=sound,pixels=pixels,labels=y,split=is_train"),
        ({"train_test": MARKS, **WHOLE, "kind": Y}, "audio=sound,pixels=pixels,labels=kind,split=train_test"),
        ({**WHOLE, "ids": Y, "kind": Y}, "audio=sound,pixels=pixels,labels=kind --test-fraction 0.2"),
        ({**WHOLE, "kind": Y, "place": Y}, "audio=sound,pixels=pixels,labels=KEY --test-fraction 0.2"),
        (
            {**WHOLE, "labels": Y, "class_names": np.array(["a", "b", "c"])},
            "audio=sound,pixels=pixels,labels=labels --test-fraction 0.2",
        ),
        ({**WHOLE, "y": Y, "train_idx": np.arange(16)}, "audio=sound,pixels=pixels,labels=y,split=KEY, where split"),
        ({**WHOLE, "y": Y, "fold": np.arange(24) % 5}, "audio=sound,pixels=pixels,labels=y,split=KEY, where split"),
        ({**WHOLE, "y": Y, "is_test": MARKS == "test"}, "audio=sound,pixels=pixels,labels=y,split=KEY, where split"),
        (
            {**MADE, "video_train": np.arange(12), "video_test": np.arange(6) + 12},
            "a_train=a_train,a_test=a_test,b_train=b_train,b_test=b_test,lab_train=y_train,lab_test=y_test,"
            "group_train=video_train,group_test=video_test",
        ),
    ],
)
def test_a_split_and_groups_are_proposed_as_such_and_never_as_the_labels(
    tmp_path: Path, arrays: dict[str, Any], proposed: str
) -> None:
    path = write(tmp_path / "a.npz", arrays)
    message = refused(path)
    assert f"--map {proposed}" in message
    if "KEY" in proposed:
        return
    words, _, fraction = proposed.partition(" --test-fraction ")
    dataset = read(path, options_of(map=words, test_fraction=float(fraction) if fraction else None))
    assert set(dataset.class_names) in ({"0", "1", "2"}, {"a", "b", "c"})


def test_every_array_that_is_not_read_is_named(tmp_path: Path) -> None:
    names = {"audio": "a", "visual": "b", "lab": "y"}
    six = {f"{view}_{split}": MADE[f"{key}_{split}"] for view, key in names.items() for split in ("train", "test")}
    groups = {"groups_train": np.arange(12) // 2, "groups_test": np.arange(6) + 8}
    dataset = read(write(tmp_path / "six.h5", {**six, **groups, "ids": np.arange(12), "dev_audio": A}))
    assert dataset.groups is not None
    assert dataset.unread == ("dev_audio", "ids")
    assert dataset_line(dataset).endswith("; not read: dev_audio, ids")
    inner = {"t/a": A, "t/b": B, "t/y": Y, "t/z": Y, "u/y": Y}
    mapped = read(write(tmp_path / "b.h5", inner), options_of(map="a=t/a,b=t/b,labels=t/y", test_fraction=0.25))
    assert mapped.unread == ("t/z", "u/y")
    lacks = write(tmp_path / "c.h5", {**six, "audio_val": A, "visual_val": B})
    assert "has audio_val and no lab_val\n" in refused(lacks)
