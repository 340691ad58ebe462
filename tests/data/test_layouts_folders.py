"""AVE's own folder, folders of .npy arrays, with a CSV, and Parquet and Arrow tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from lab_files import DIMS, ave_folder, clips

from avtune.core.errors import UserError
from avtune.data import examine, read
from avtune.data.options import options_of


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, options_of(**options))
    message = str(caught.value)
    assert message.startswith(str(path)), message
    assert message.count("\n") <= 1
    return message


def array_of(folder: Path, name: str) -> Any:
    with h5py.File(folder / f"{name}.h5") as file:
        return file["order" if name.endswith("order") else "avadataset"][()]


SPLITS = {"train": 18, "val": 6, "test": 6}


@pytest.mark.parametrize("spatial", [False, True])
def test_ave_is_pooled_and_split_as_published(tmp_path: Path, spatial: bool) -> None:
    folder = ave_folder(tmp_path / "AVE", clips_of_split=SPLITS, spatial=spatial)
    dataset = read(folder)
    assert (dataset.name, dataset.views) == ("AVE", ("audio", "visual"))
    assert dataset.class_names == ("Church bell", "Male speech", "Bark")
    assert dataset.validation is not None
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (24, 6, 6)
    audio, visual = array_of(folder, "audio_feature"), array_of(folder, "visual_feature")
    rows = array_of(folder, "test_order")
    np.testing.assert_allclose(dataset.test.audio, audio[rows].mean(axis=1), rtol=1e-5)
    flat = visual[rows].reshape(6, -1, DIMS[1])
    np.testing.assert_allclose(dataset.test.visual, flat.mean(axis=1), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(dataset.test.labels, rows % 3)
    held = array_of(folder, "val_order")
    np.testing.assert_allclose(dataset.train.audio[dataset.validation], audio[held].mean(axis=1), rtol=1e-5)
    both = read(folder, options_of(pool="max,std"))
    assert (both.audio_dim, both.visual_dim) == (2 * DIMS[0], 2 * DIMS[1])
    np.testing.assert_allclose(both.test.visual[:, : DIMS[1]], flat.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(both.test.visual[:, DIMS[1] :], flat.std(axis=1), rtol=1e-4)
    assert both.options == {"pool": "max,std"}
    assert dataset.options == {"pool": "mean"}


def test_a_subset_of_aves_classes(tmp_path: Path) -> None:
    folder = ave_folder(tmp_path / "AVE", clips_of_split=SPLITS)
    (tmp_path / "two.csv").write_text("name,label_id\nBark,2\nBell,0\n")
    dataset = read(folder, options_of(classes=str(tmp_path / "two.csv")))
    assert dataset.class_names == ("Bell", "Bark")
    rows = array_of(folder, "test_order")
    assert len(dataset.test) == int(np.isin(rows % 3, (0, 2)).sum())


def test_what_is_wrong_with_aves_files_is_named(tmp_path: Path) -> None:
    folder = ave_folder(tmp_path / "AVE", clips_of_split=SPLITS)
    with pytest.raises(UserError, match="--pool names 'median'"):
        options_of(pool="median")
    assert "takes no --test-fraction" in refused(folder, test_fraction=0.2)
    (folder / "visual_feature_vec.h5").write_bytes((folder / "visual_feature.h5").read_bytes())
    assert "choose with --map visual=visual_feature_vec" in refused(folder)
    assert read(folder, options_of(map="visual=visual_feature_vec.h5")).visual_dim == DIMS[1]
    (folder / "visual_feature_vec.h5").unlink()
    with h5py.File(folder / "test_order.h5", "r+") as file:
        order = file["order"][()]
        file["order"][0] = 99
    assert "test_order.h5 names the row 99; there are 30 clips" in refused(folder)
    with h5py.File(folder / "test_order.h5", "r+") as file:
        file["order"][...] = order
        file["order"][0] = array_of(folder, "train_order")[0]
    assert "a clip is in two of the splits" in refused(folder)


def npy_folder(folder: Path, **arrays: Any) -> Path:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def whole() -> dict[str, Any]:
    made = clips(train=24, test=0)
    return {"audio": made["a_train"], "visual": made["b_train"], "labels": made["y_train"]}


def test_npy_arrays_with_a_split(tmp_path: Path) -> None:
    arrays = whole()
    words = np.array(["train"] * 14 + ["val"] * 4 + ["test"] * 6)
    dataset = read(npy_folder(tmp_path / "a", **arrays, split=words))
    assert dataset.validation is not None
    np.testing.assert_array_equal(dataset.test.audio, arrays["audio"][18:])
    np.testing.assert_array_equal(dataset.validation, np.arange(14, 18))
    numbers = np.repeat([1, 0], [18, 6])
    for place, marks in enumerate((numbers, numbers == 1, numbers.astype(complex))):  # some tools keep all as complex
        other = read(npy_folder(tmp_path / f"b{place}", **arrays, split=marks))
        np.testing.assert_array_equal(other.test.audio, arrays["audio"][18:])
        assert other.validation is None


def test_npy_arrays_without_a_split(tmp_path: Path) -> None:
    arrays = whole()
    folder = npy_folder(tmp_path / "a", **arrays)
    assert "has no test split; add --test-fraction 0.2" in refused(folder)
    dataset = read(folder, options_of(test_fraction=0.25))
    assert (len(dataset.train), len(dataset.test)) == (18, 6)
    assert read(folder, options_of(test_fraction=0.25)).digest == dataset.digest
    np.save(folder / "split.npy", np.repeat([1, 0], [18, 6]))
    assert "leave --test-fraction out" in refused(folder, test_fraction=0.25)
    np.save(folder / "split.npy", np.repeat([0, 1, 2], 8))
    assert "split.npy holds '2' in row 16; allowed: train, val and test" in refused(folder)


def test_npy_arrays_of_other_names(tmp_path: Path) -> None:
    arrays = whole()
    folder = npy_folder(tmp_path / "a", image=arrays["audio"], text=arrays["visual"], labels=arrays["labels"])
    dataset = read(folder, options_of(test_fraction=0.25))
    assert dataset.views == ("image", "text")
    np.save(folder / "bert.npy", arrays["visual"][:, :4])
    assert "has 3 arrays of features, bert, image, text; choose two: --views bert,image" in refused(folder)
    other = read(folder, options_of(test_fraction=0.25, views="image,bert"))
    assert (other.views, other.visual_dim) == (("image", "bert"), 4)


def test_a_file_whose_name_steers_the_terminal_is_no_view(tmp_path: Path) -> None:
    made = whole()
    folder = npy_folder(
        tmp_path / "odd", **{"\x1b[31m": made["visual"], "audio": made["audio"], "labels": made["labels"]}
    )
    assert r"'\x1b[31m' is no name of a view" in refused(folder, test_fraction=0.3)


def test_words_one_hot_bytes_and_time(tmp_path: Path) -> None:
    arrays = whole()
    names = np.array(["rain", "dog", "siren"])[arrays["labels"]]
    marks = np.repeat(["train", "test"], [18, 6])
    by_word = read(npy_folder(tmp_path / "a", **{**arrays, "labels": names}, split=marks))
    assert by_word.class_names == ("dog", "rain", "siren")
    np.testing.assert_array_equal(np.array(by_word.class_names)[by_word.test.labels], names[18:])
    by_bytes = read(npy_folder(tmp_path / "b", **{**arrays, "labels": names.astype("S")}, split=marks))
    assert by_bytes.digest == by_word.digest
    hot = np.eye(3, dtype=np.uint8)[arrays["labels"]]
    assert read(npy_folder(tmp_path / "c", **{**arrays, "labels": hot}, split=marks)).class_names == ("0", "1", "2")
    video = np.stack([arrays["visual"], arrays["visual"] + 2], axis=1).astype(np.float16)
    folder = npy_folder(tmp_path / "d", **{**arrays, "visual": video}, split=marks)
    assert "shape (24, 2, 7); features are [clips, dims]; pool over its other axes with --pool mean" in refused(folder)
    pooled = read(folder, options_of(pool="mean"))
    np.testing.assert_allclose(pooled.test.visual, arrays["visual"][18:] + 1, atol=2e-3)
    flat = refused(npy_folder(tmp_path / "e", **arrays, split=marks), pool="max")
    assert "--pool max pools over time, and no features have a time axis" in flat
    assert "(audio has shape (24, 10), visual has shape (24, 7)); leave --pool out" in flat


def test_groups_stay_on_one_side_of_a_drawn_test_split(tmp_path: Path) -> None:
    arrays = whole()
    videos = np.repeat([f"video {i}" for i in range(12)], 2)
    arrays["labels"] = np.repeat(np.arange(12) % 3, 2)
    folder = npy_folder(tmp_path / "a", **arrays, groups=videos)
    dataset = read(folder, options_of(test_fraction=0.25))
    test = {tuple(row) for row in dataset.test.audio}
    sides = [tuple(row) in test for row in arrays["audio"]]
    assert sides[0::2] == sides[1::2]
    assert sum(sides) == 6
    assert dataset.leaked == 0
    assert dataset.groups is not None
    assert len(dataset.groups) == 18


def test_a_csv_beside_arrays(tmp_path: Path) -> None:
    arrays = whole()
    folder = npy_folder(tmp_path / "a", image=arrays["audio"], text=arrays["visual"])
    marks = ["train"] * 18 + ["test"] * 6
    lines = [
        f"clip{i},{'abc'[label]},{mark}" for i, (label, mark) in enumerate(zip(arrays["labels"], marks, strict=True))
    ]
    (folder / "clips.csv").write_text("\n".join(["Id,Label,Split", *lines]))
    dataset = read(folder)
    assert (dataset.views, dataset.class_names) == (("image", "text"), ("a", "b", "c"))
    np.testing.assert_array_equal(dataset.test.audio, arrays["audio"][18:])
    np.save(folder / "class_names.npy", ["dog", "rain", "siren"])
    np.save(folder / "ids.npy", [f"clip{i}" for i in range(24)])
    for form in ("{}", "{}.0"):
        numbered = [f"{form.format(label)},{mark}" for label, mark in zip(arrays["labels"], marks, strict=True)]
        (folder / "clips.csv").write_text("\n".join(["label,split", *numbered]))
        assert read(folder).class_names == ("dog", "rain", "siren")
    (folder / "clips.csv").write_text("\n".join(["id,kind,split", *lines]))
    assert "names no column label" in refused(folder)
    (folder / "clips.csv").write_text("\n".join(["id,label", *lines]))
    assert "line 2 (empty ones left out) has 3 columns and the header 2" in refused(folder)
    (folder / "clips.csv").write_text("\n".join(["Id,Label,Split", *lines[:-1]]))
    assert "image.npy has 24 rows and clips.csv: Label has 23 labels" in refused(folder)


def table(arrays: dict[str, Any], **more: Any) -> pa.Table:
    columns = {name: pa.array(list(value)) if value.ndim > 1 else pa.array(value) for name, value in arrays.items()}
    return pa.table(columns | more)


def test_parquet_and_arrow_tables(tmp_path: Path) -> None:
    arrays = whole()
    names = pa.array(["rain", "dog", "siren"]).take(pa.array(arrays.pop("labels")))
    split = pa.array(["train"] * 18 + ["test"] * 6)
    made = table(arrays, label=names.dictionary_encode(), split=split, id=pa.array(range(24)))
    pq.write_table(made, tmp_path / "a.parquet", row_group_size=7)
    pyarrow.feather.write_feather(made, tmp_path / "a.arrow", compression="lz4")
    fixed = made.set_column(0, "audio", pa.array(list(arrays["audio"]), pa.list_(pa.float32(), DIMS[0])))
    pq.write_table(fixed, tmp_path / "fixed.parquet")
    digests = {read(tmp_path / name).digest for name in ("a.parquet", "a.arrow", "fixed.parquet")}
    assert len(digests) == 1
    dataset = read(tmp_path / "a.parquet")
    np.testing.assert_array_equal(dataset.test.audio, arrays["audio"][18:])
    assert dataset.class_names == ("dog", "rain", "siren")
    (tmp_path / "parts").mkdir()
    pq.write_table(made.slice(0, 10), tmp_path / "parts/train-0.parquet")
    pq.write_table(made.slice(10, 8), tmp_path / "parts/train-1.parquet")
    pq.write_table(made.slice(18), tmp_path / "parts/test.parquet")
    assert read(tmp_path / "parts").digest == dataset.digest


def test_columns_of_other_names(tmp_path: Path) -> None:
    arrays = whole()
    made = table(
        {"vggish": arrays["audio"], "resnet": arrays["visual"], "kind": arrays["labels"], "third": arrays["audio"]}
    )
    path = tmp_path / "a.parquet"
    pq.write_table(made, path)
    message = refused(path)
    assert "has 3 columns of lists, where two are the views; its columns: vggish, resnet, kind, third" in message
    assert "--map audio=COLUMN,visual=COLUMN,labels=COLUMN" in message
    assert "has no column 'kinds'; did you mean 'kind'?" in refused(path, map="a=vggish,b=resnet,labels=kinds")
    dataset = read(path, options_of(map="sound=vggish,image=resnet,labels=kind", test_fraction=0.25))
    assert dataset.views == ("sound", "image")
    assert (dataset.audio_dim, dataset.visual_dim) == DIMS


def test_tables_that_are_no_features(tmp_path: Path) -> None:
    arrays = whole()
    ragged = pa.array([[1.0] * (1 + i % 2) for i in range(24)])
    holes = pa.array([*arrays["audio"][:20], None, *arrays["audio"][21:]])
    path = tmp_path / "a.parquet"
    for column, said in (
        (ragged, "lists of different lengths"),
        (holes, "lacks the value of 1 row, the first in row 20, counted from 0"),
    ):
        pq.write_table(table({"visual": arrays["visual"], "label": arrays["labels"]}, audio=column), path)
        assert said in refused(path, test_fraction=0.25)
    pq.write_table(table({"audio": arrays["audio"], "visual": arrays["visual"], "label": arrays["labels"]}), path)
    whole_file = path.read_bytes()
    for length in range(4, len(whole_file) - 1, 211):
        path.write_bytes(whole_file[:length])
        refused(path, test_fraction=0.25)


def csv_folder(folder: Path, header: str, *columns: Any, **arrays: Any) -> Path:
    made = npy_folder(folder, **arrays)
    lines = [",".join(map(str, line)) for line in zip(*columns, strict=True)]
    (made / "clips.csv").write_text("\n".join([header, *lines]))
    return made


def test_split_and_groups_beside_a_csv_are_read(tmp_path: Path) -> None:
    arrays = whole()
    labels = np.repeat(np.arange(12) % 3, 2)
    views = {"audio": arrays["audio"], "visual": arrays["visual"]}
    videos, marks = np.arange(24) // 2, np.repeat(["train", "test"], [18, 6])
    folder = csv_folder(tmp_path / "a", "label", labels, **views, groups=videos)
    grouped = read(folder, options_of(test_fraction=0.25))
    assert grouped.groups is not None
    assert grouped.leaked == 0
    np.save(folder / "split.npy", marks)
    np.testing.assert_array_equal(read(folder).test.audio, arrays["audio"][18:])
    other = csv_folder(tmp_path / "b", "split,video", marks, videos, **views, labels=labels)
    assert read(other).digest == read(folder).digest


def test_what_is_said_twice_in_a_folder_is_refused(tmp_path: Path) -> None:
    arrays = whole()
    marks = np.repeat(["train", "test"], [18, 6])
    columns = ("id,label,split", range(24), arrays["labels"], marks)
    folder = csv_folder(tmp_path / "a", *columns, **arrays)
    message = refused(folder)
    assert "has labels.npy, and clips.csv has the column label: both say the labels of the clips" in message
    (folder / "labels.npy").unlink()
    np.save(folder / "split.npy", marks)
    assert "has split.npy, and clips.csv has the column split: both say the split" in refused(folder)


def test_a_csv_of_something_else_beside_labels_is_no_table_of_clips(tmp_path: Path) -> None:
    arrays = whole()
    split = np.repeat([1, 0], [18, 6])
    folder = csv_folder(tmp_path / "a", "label,name", range(3), ["dog", "rain", "siren"], **arrays, split=split)
    np.testing.assert_array_equal(read(folder).test.labels, arrays["labels"][18:])


def test_ids_of_a_csv_in_another_order_than_those_of_the_arrays_are_refused(tmp_path: Path) -> None:
    arrays = whole()
    ids = np.array([f"clip{i}" for i in range(24)])
    marks = np.repeat(["train", "test"], [18, 6])
    views = {"audio": arrays["audio"], "visual": arrays["visual"]}
    lines = ("Id,label,split", ids, arrays["labels"], marks)
    folder = csv_folder(tmp_path / "a", *lines, **views, ids=ids.astype("S"))
    assert len(read(folder).test) == 6
    np.save(folder / "ids.npy", np.roll(ids, 1))
    message = refused(folder)
    assert "clips.csv has the Id 'clip0' in row 0, counted from 0, and" in message
    assert "ids.npy has 'clip23', the same ids in another order" in message
    np.save(folder / "ids.npy", ids[1:])
    assert "clips.csv has 24 clips and" in refused(folder)
    twice = csv_folder(tmp_path / "c", lines[0], ["clip7", *ids[1:]], *lines[2:], **views)
    assert "clips.csv has more than one line of the id 'clip7'" in examine(read(twice)).notes
    numbered = csv_folder(
        tmp_path / "b", "filename,label,split", range(24), *lines[2:], **views, filenames=np.arange(24)
    )
    assert len(read(numbered).test) == 6


def test_a_column_of_folds_is_no_split_unless_it_marks_one(tmp_path: Path) -> None:
    arrays = whole()
    views = {"audio": arrays["audio"], "visual": arrays["visual"]}
    folder = csv_folder(tmp_path / "a", "label,fold", arrays["labels"], np.arange(24) % 5 + 1, **views)
    message = refused(folder)
    assert "fold holds '2' in row 1; allowed: train, val and test" in message
    assert "give it another name where it is no split (such as the numbers of folds) and add --test-fraction" in message
    marked = csv_folder(tmp_path / "b", "label,fold", arrays["labels"], np.repeat([1, 0], [18, 6]), **views)
    assert any("fold is taken for the split: 1 a training clip" in note for note in examine(read(marked)).notes)
