"""Datasets whose clips have several labels: reading, and what is said of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
from lab_files import cell, clips, dscmr, save_mat73, several

from avtune.core.errors import UserError
from avtune.data import formats
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.data.info import describe
from avtune.data.options import options_of
from avtune.data.prepare import for_search
from avtune.data.views import read_views


def image_text(train=24, test=12):
    """The arrays of an image-text set with `train_lab`, `test_lab` of one column a class, and its labels."""
    made = clips(train=train, test=test)
    labels = {"train": several(train), "test": several(test, seed=1)}
    arrays = {key: value for split in labels for key, value in dscmr(made, split).items() if not key.endswith("_lab")}
    return arrays | {f"{split}_lab": labels[split].astype(np.float64) for split in labels}, labels


def test_every_form_of_file_gives_the_same_dataset(tmp_path: Path) -> None:
    arrays, labels = image_text()
    scipy.io.savemat(tmp_path / "a.mat", arrays)
    save_mat73(tmp_path / "b.mat", arrays)
    np.savez(tmp_path / "c.npz", **{**arrays, "train_lab": labels["train"] * 2 - 1, "test_lab": labels["test"] * 2 - 1})
    read = [formats.read(tmp_path / name) for name in ("a.mat", "b.mat", "c.npz")]
    assert len({dataset.digest for dataset in read}) == 1
    assert read[0].is_multi_label
    assert read[0].train.labels.dtype == bool
    np.testing.assert_array_equal(read[0].test.labels, labels["test"])
    assert read[0].class_names == ("0", "1", "2", "3")
    assert f"4 classes ({labels['train'].sum() / 24:.3g} labels a clip)" in repr(read[0])


def test_a_dataset_is_written_and_read_again(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    parts = [(draw.normal(size=(n, 24)), draw.normal(size=(n, 6)), several(n, seed=n)) for n in (24, 12, 9)]
    made = Dataset.from_arrays(train=parts[0], validation=parts[1], test=parts[2], class_names=list("wxyz"))
    formats.write_hdf5(made, tmp_path / "a.h5")
    read = formats.read(tmp_path / "a.h5")
    assert read.digest == made.digest
    assert read.class_names == made.class_names


def table_of(made, split, labels, kind):
    views = {
        name: pa.array([row.tolist() for row in made[f"{key}_{split}"]], pa.list_(pa.float32()))
        for name, key in (("audio", "a"), ("visual", "b"))
    }
    return pa.table(views | {"labels": pa.array(labels, pa.list_(kind))})


def test_tables_with_a_list_of_labels_a_row(tmp_path: Path) -> None:
    made, names = clips(train=24, test=12), np.array(["dog", "rain", "siren", "wind"])
    hot = {"train": several(24), "test": several(12, seed=1)}
    forms = {
        "words": (lambda row: names[row].tolist()[::-1], pa.string()),
        "numbers": (lambda row: (10 * np.flatnonzero(row)).tolist(), pa.int64()),
        "columns": (lambda row: row.astype(int).tolist(), pa.int8()),
    }
    read = {}
    for form, (of, kind) in forms.items():
        (tmp_path / form).mkdir()
        for split, labels in hot.items():
            table = table_of(made, split, [of(row) for row in labels], kind)
            pq.write_table(table, tmp_path / form / f"{split}.parquet", row_group_size=7)
        read[form] = formats.read(tmp_path / form)
    assert len({dataset.digest for dataset in read.values()}) == 1
    np.testing.assert_array_equal(read["words"].test.labels, hot["test"])
    assert read["words"].class_names == tuple(names)
    assert read["numbers"].class_names == ("0", "10", "20", "30")


def test_lists_of_one_label_are_labels(tmp_path: Path) -> None:
    made = clips()
    for form in ("lists", "labels"):
        (tmp_path / form).mkdir()
        for split in ("train", "test"):
            labels = (made[f"y_{split}"] + 3).tolist()
            table = table_of(made, split, [[one] for one in labels], pa.int64())
            if form == "labels":
                table = table.set_column(2, "labels", pa.array(labels))
            pq.write_table(table, tmp_path / form / f"{split}.parquet")
    one, other = (formats.read(tmp_path / form) for form in ("lists", "labels"))
    assert (one.digest, one.class_names) == (other.digest, other.class_names)


def test_lists_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    made = clips()
    for row, wrong, why in (
        ([], pa.string(), "labels: 1 of 12 clips has no label, the first in row 2"),
        (["a", ""], pa.string(), "the label in row 2 is ''"),
        ([None], pa.string(), "labels lacks values"),
    ):
        for split in ("train", "test"):
            labels = [["a", "b"], ["a"]] * (len(made[f"y_{split}"]) // 2)
            if split == "train":
                labels[2] = row
            pq.write_table(table_of(made, split, labels, wrong), tmp_path / f"{split}.parquet")
        with pytest.raises(UserError) as caught:
            formats.read(tmp_path)
        assert why in str(caught.value)


def test_labels_of_half_precision() -> None:
    made = clips()
    parts = {split: (made[f"a_{split}"], made[f"b_{split}"], made[f"y_{split}"]) for split in ("train", "test")}
    halves = {split: (a, b, y.astype(np.float16)) for split, (a, b, y) in parts.items()}
    assert Dataset.from_arrays(**halves).digest == Dataset.from_arrays(**parts).digest


def test_cell_arrays_of_views_with_columns(tmp_path: Path) -> None:
    made, labels = clips(train=36, test=0), several(36)
    scipy.io.savemat(tmp_path / "a.mat", {"X": cell([made["a_train"].T, made["b_train"]]), "Y": labels.astype(float)})
    dataset = formats.read(tmp_path / "a.mat", options_of(views="0,1", test_fraction=0.25))
    assert dataset.is_multi_label
    assert (dataset.audio_dim, dataset.visual_dim) == (10, 7)


def test_rows_without_splits_are_split_by_all_their_labels(tmp_path: Path) -> None:
    made, labels = clips(train=60, test=0), several(60)
    for name, array in (("image", made["a_train"]), ("text", made["b_train"]), ("labels", labels.astype(np.uint8))):
        np.save(tmp_path / f"{name}.npy", array)
    one, again = (formats.read(tmp_path, options_of(test_fraction=0.25)) for _ in range(2))
    assert one.digest == again.digest
    assert len(one.test) == pytest.approx(15, abs=3)
    assert one.test.labels.any(axis=0).all()


def test_columns_of_one_label_a_clip_are_numbers() -> None:
    made = clips()
    held = [
        Dataset.from_arrays(
            **{split: (made[f"a_{split}"], made[f"b_{split}"], of(made[f"y_{split}"])) for split in ("train", "test")}
        )
        for of in (lambda y: y, lambda y: np.eye(3)[y])
    ]
    assert held[0].digest == held[1].digest
    assert not held[1].is_multi_label


def made_of(train, test, names=None):
    draw = np.random.default_rng(0)
    return Dataset.from_arrays(
        train=(draw.normal(size=(len(train), 5)), draw.normal(size=(len(train), 6)), train),
        test=(draw.normal(size=(len(test), 5)), draw.normal(size=(len(test), 6)), test),
        class_names=names,
    )


def test_a_column_that_no_clip_has_is_no_class() -> None:
    train, test = several(20), several(10, seed=1)
    with_empty = [np.insert(labels, 2, False, axis=1) for labels in (train, test)]
    dataset = made_of(*with_empty, names=["dog", "rain", "none", "siren", "wind"])
    assert dataset.class_names == ("dog", "rain", "siren", "wind")
    np.testing.assert_array_equal(dataset.train.labels, train)
    with_empty[1][4, 2] = True
    with pytest.raises(UserError, match="labels of test has 1 label that labels of train lacks: 2"):
        made_of(*with_empty)


def test_what_is_unusable_is_refused() -> None:
    train, test = several(20), several(10, seed=1)
    train[7] = False
    with pytest.raises(UserError, match=r"(?s)1 of 20 clips has no label, the first in row 7.*y.any\(axis=1\)"):
        made_of(train, test)
    train = several(20)
    train[:, 1], train[:, 0] = np.arange(20) == 3, True
    with pytest.raises(UserError, match=r"has too few clips of '1' \(1 clip\)"):
        made_of(train, test)


def test_info_counts_a_clip_for_each_of_its_labels() -> None:
    train, test = several(40), several(10, seed=1)
    facts = describe(made_of(train, test))
    assert [one["train"] for one in facts["classes"]] == train.sum(0).tolist()
    assert facts["labels_per_clip"] == pytest.approx(train.sum() / 40, abs=1e-4)
    test[:, 3] = False
    test[:, 0] = True
    assert "1 of 4 classes has no test clip: 3" in examine(made_of(train, test)).problems


def test_labels_of_a_file_of_views(tmp_path: Path) -> None:
    labels = several(9)
    np.savez(tmp_path / "a.npz", audio=np.ones((9, 5)), labels=labels.astype(int), class_names=list("wxyz"))
    found = read_views(tmp_path / "a.npz", {"audio": 5, "visual": 6})
    np.testing.assert_array_equal(found.labels, labels)
    assert found.names == {0: "w", 1: "x", 2: "y", 3: "z"}


def test_what_a_search_sees() -> None:
    dataset = made_of(several(60), several(10, seed=1))
    (seen,) = for_search(dataset, fraction=0.25, folds=None, seed=0)
    assert seen.train.labels.shape[1] == seen.num_classes == 4
    assert len(seen.train) + len(seen.validation) == 60


def csv_folder(folder: Path, cells: list[str], marks: list[str]) -> Path:
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name, width in (("image", 5), ("text", 3)):
        np.save(folder / f"{name}.npy", draw.normal(size=(len(cells), width)))
    lines = [f"{place},{cell},{mark}" for place, (cell, mark) in enumerate(zip(cells, marks, strict=True))]
    (folder / "clips.csv").write_text("\n".join(["id,labels,split", *lines]))
    return folder


def test_a_cell_of_a_csv_holds_the_labels_of_a_clip_with_semicolons_between(tmp_path: Path) -> None:
    cells = ["dog; cat", "cat;", "owl;dog;dog", "owl", "cat;owl", "dog"] * 2
    marks = ["train"] * 8 + ["test"] * 4
    read = formats.read(csv_folder(tmp_path / "words", cells, marks))
    assert read.class_names == ("cat", "dog", "owl")
    wanted = [[name in {part.strip() for part in cell.split(";")} for name in read.class_names] for cell in cells]
    np.testing.assert_array_equal(np.concatenate([read.train.labels, read.test.labels]), wanted)
    numbers = formats.read(csv_folder(tmp_path / "numbers", [f"{9 * n};{n % 2}" for n in (1, 2, 3) * 4], marks))
    assert numbers.class_names == ("0", "1", "9", "18", "27")
    with pytest.raises(UserError, match=r"clips.csv: labels: 1 of 4 clips has no label, the first in row 1"):
        formats.read(csv_folder(tmp_path / "none", [*cells[:9], " ; ", *cells[10:]], marks))
    single = formats.read(csv_folder(tmp_path / "single", ["dog;", "cat", "owl;"] * 4, marks))
    assert single.train.labels.tolist() == [1, 0, 2] * 2 + [1, 0]
