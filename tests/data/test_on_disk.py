"""Features that stay on disk: read, split and scaled to the same bits as in memory, and mapped by other processes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import scipy.io

from avtune.core.errors import StorageError, UserError
from avtune.data import Dataset, read
from avtune.data import on_disk as disk
from avtune.data.options import options_of
from avtune.data.prepare import for_retraining, for_search, handed, received
from avtune.data.reading import on_disk_notes

Arrays = dict[str, Any]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All features are taken to be too large for the memory; scratch files are below the test's folder."""
    monkeypatch.setattr(disk, "SMALL", 0)
    monkeypatch.setattr(disk, "available_memory", lambda: 1)
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def views(dataset: Dataset) -> list[np.ndarray]:
    return [view for split in (dataset.train, dataset.test) for view in (split.audio, split.visual)]


def save_h5(path: Path, arrays: Arrays, **how: Any) -> None:
    with h5py.File(path, "w", **({"userblock_size": 512} if how.pop("userblock", False) else {})) as file:
        for key, value in arrays.items():
            file.create_dataset(key, data=value, **(how if value.ndim > 1 else {}))


def mat73(path: Path, arrays: Arrays) -> None:
    save_h5(path, {key: np.atleast_2d(value).T.copy() for key, value in arrays.items()}, userblock=True)
    content = bytearray(path.read_bytes())
    content[:128] = b"MATLAB 7.3 MAT-file".ljust(128)
    path.write_bytes(content)


def mat5(path: Path, arrays: Arrays, **how: Any) -> None:
    scipy.io.savemat(path, {key: np.atleast_2d(value.T).T for key, value in arrays.items()}, **how)


def mat73_packed(path: Path, arrays: Arrays) -> None:
    turned = {key: np.atleast_2d(value).T.copy() for key, value in arrays.items()}
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in turned.items():
            file.create_dataset(key, data=value, chunks=(min(3, len(value)), value.shape[1]), compression="gzip")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(128) + path.read_bytes()[128:])


def folder(path: Path, arrays: Arrays) -> None:
    path.mkdir()
    for key, value in arrays.items():
        np.save(path / f"{key}.npy", np.asfortranarray(value))


WRITERS: dict[str, Any] = {
    "plain.h5": save_h5,
    "userblock.h5": lambda path, arrays: save_h5(path, arrays, userblock=True),
    "double.h5": lambda path, arrays: save_h5(path, {k: v.astype(">f8") for k, v in arrays.items()}),
    "chunked.h5": lambda path, arrays: save_h5(path, arrays, chunks=(5, 2), compression="gzip"),
    "matlab.mat": mat73,
    "packed.mat": mat73_packed,
    "plain5.mat": mat5,
    "packed5.mat": lambda path, arrays: mat5(path, arrays, do_compression=True),
    "stored.npz": lambda path, arrays: np.savez(path, **arrays),
    "packed.npz": lambda path, arrays: np.savez_compressed(path, **arrays),
    "fortran.npz": lambda path, arrays: np.savez_compressed(
        path, **{k: np.asfortranarray(v) for k, v in arrays.items()}
    ),
    "folder": folder,
}


def on_disk_as_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A dataset that stays on disk, and is the one that is read into memory."""
    on_disk = read(path)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "SMALL", 1 << 26)
        in_memory = read(path)
    assert on_disk.digest == in_memory.digest
    assert [disk.is_on_disk(view) for view in views(on_disk)] == [True] * 4
    assert [disk.is_on_disk(view) for view in views(in_memory)] == [False] * 4
    return on_disk


@pytest.mark.parametrize("name", WRITERS)
def test_a_dataset_on_disk_is_the_one_in_memory(
    name: str, arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: None
) -> None:
    path = tmp_path / name
    WRITERS[name](path, arrays)
    on_disk = on_disk_as_in_memory(path, monkeypatch)
    assert all(view.dtype == np.float32 and view.flags.c_contiguous for view in views(on_disk))


def test_the_users_own_file_is_mapped_where_it_holds_plain_values(arrays: Arrays, tmp_path: Path, large: None) -> None:
    for name in ("plain.h5", "userblock.h5", "stored.npz"):
        WRITERS[name](tmp_path / name, arrays)
        place = disk.place_of(read(tmp_path / name).train.visual)
        assert place is not None
        assert place.path == str(tmp_path / name)
    assert not [one for one in os.listdir(tmp_path) if one not in WRITERS]  # scratch files have no name


@pytest.mark.parametrize("name", ["whole.parquet", "whole.arrow", "parts"])
def test_tables_on_disk_are_those_in_memory(
    name: str, arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: None
) -> None:
    path = tmp_path / name
    tables = {
        split: pa.table({"audio": list(arrays[f"audio_{split}"]), "visual": list(arrays[f"visual_{split}"])})
        .append_column("label", pa.array(arrays[f"lab_{split}"]))
        .append_column("split", pa.array([split] * len(arrays[f"lab_{split}"])))
        for split in ("train", "test")
    }
    if name == "parts":
        path.mkdir()
        pq.write_table(tables["train"].slice(0, 7), path / "train-0.parquet")
        pq.write_table(tables["train"].slice(7), path / "train-1.parquet")
        pq.write_table(tables["test"], path / "test.parquet")
    elif name.endswith("parquet"):
        pq.write_table(pa.concat_tables(tables.values()), path)
    else:
        pyarrow.feather.write_feather(pa.concat_tables(tables.values()), path)
    monkeypatch.setattr("avtune.data.layouts.table._BATCH", 3)
    on_disk = on_disk_as_in_memory(path, monkeypatch)
    np.testing.assert_array_equal(np.sort(on_disk.train.audio, axis=0), np.sort(arrays["audio_train"], axis=0))


@pytest.mark.parametrize("name", ["segments.npz", "packed.npz", "segments", "fortran", "plain5.mat"])
def test_pooled_segments_are_read_some_at_a_time(
    name: str, arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: None
) -> None:
    path = tmp_path / name
    made = {key: np.stack([one, 3 * one, one - 1], axis=1) if one.ndim > 1 else one for key, one in arrays.items()}
    if name in ("segments", "fortran"):
        path.mkdir()
        for key, value in made.items():
            np.save(path / f"{key}.npy", value.copy("F") if name == "fortran" else value)
    else:
        WRITERS[name if name in WRITERS else "stored.npz"](path, made)
    monkeypatch.setattr("avtune.data.pooling.BLOCK_BYTES", 200)
    monkeypatch.setattr("avtune.data.pooling._HOW", {"mean": watched_mean(most := [])})
    found = read(path, options_of(pool="mean"))
    assert [disk.is_on_disk(view) for view in views(found)] == [True] * 4
    np.testing.assert_allclose(found.train.audio, made["audio_train"].mean(axis=1, dtype=float), rtol=1e-6)
    assert max(most) <= 2 or name == "packed.npz"  # whose blocks are those of the file


def watched_mean(sizes: list[int]) -> Any:
    def mean(block: Any) -> Any:
        sizes.append(len(block))
        return block.mean(axis=1, dtype=np.float64)

    return mean


def test_rows_go_to_the_disk_once_they_are_large(large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.Rows, "_EVERY", 4)
    made = np.arange(33, dtype=np.float32).reshape(11, 3)
    for most, where in ((0, False), (50, False), (1 << 26, True)):
        monkeypatch.setattr(disk, "SMALL", most)
        rows = disk.Rows()
        for row in made:
            rows.add(row)
        assert (len(rows), rows.dims, rows.in_memory) == (11, 3, where)
        array = rows.array()
        assert disk.is_on_disk(array) is not where
        np.testing.assert_array_equal(array, made)


@pytest.mark.parametrize("name", ["packed.mat", "packed5.mat", "packed.npz", "fortran.npz", "chunked.h5"])
def test_what_cannot_be_mapped_is_read_some_at_a_time(
    name: str, arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: None
) -> None:
    WRITERS[name](tmp_path / name, arrays)
    monkeypatch.setattr(disk, "BLOCK_BYTES", 100)  # one row, or column, in most of the arrays
    shapes, real = [], disk.filled

    def watched(shape: Any, blocks: Any, **how: Any) -> Any:
        return real(shape, (shapes.append(block.shape) or block for block in blocks), **how)

    monkeypatch.setattr("avtune.data.reading.filled", watched)
    read(tmp_path / name)
    assert max(4 * np.prod(block) for block in shapes) <= 200 < arrays["audio_train"].nbytes  # a chunk has up to 200


def test_a_changed_byte_of_an_npz_that_is_mapped_is_seen(arrays: Arrays, tmp_path: Path, large: None) -> None:
    path = tmp_path / "stored.npz"
    for split in ("train", "test"):  # more than the header that is read in any case
        arrays[f"visual_{split}"] = np.tile(arrays[f"visual_{split}"], 2000)
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    place = content.index(arrays["visual_train"].tobytes()) + arrays["visual_train"].nbytes - 6
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"visual_train cannot be read; .*Bad CRC-32"):
        read(path)


def test_validation_clips_drawn_test_clips_and_pooling_stay_on_disk(
    arrays: Arrays, tmp_path: Path, large: None
) -> None:
    for view in ("audio", "visual"):
        arrays[f"{view}_val"] = arrays[f"{view}_test"] + 1
    arrays["lab_val"] = arrays["lab_test"]
    save_h5(tmp_path / "val.h5", arrays)
    found = read(tmp_path / "val.h5")
    assert disk.is_on_disk(found.train.audio)
    np.testing.assert_array_equal(found.train.audio[found.validation], arrays["audio_val"])
    whole = {"audio": arrays["audio_train"], "visual": np.stack([arrays["visual_train"]] * 2, axis=1)}
    save_h5(tmp_path / "whole.h5", {**whole, "labels": arrays["lab_train"]})
    options = options_of(pool="mean", test_fraction=0.25, map="audio=audio,visual=visual,labels=labels")
    drawn = read(tmp_path / "whole.h5", options)
    assert [disk.is_on_disk(view) for view in views(drawn)] == [True] * 4
    rows = np.concatenate([drawn.train.visual, drawn.test.visual])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(arrays["visual_train"], axis=0))


def test_what_trials_and_retrainings_see_has_the_same_bits(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: None
) -> None:
    save_h5(tmp_path / "plain.h5", arrays)
    on_disk = read(tmp_path / "plain.h5")
    with monkeypatch.context() as patch:
        patch.setattr(disk, "SMALL", 1 << 26)
        in_memory = read(tmp_path / "plain.h5")
    seen = []
    for dataset in (on_disk, in_memory):
        data = [*for_search(dataset, fraction=None, folds=2, seed=1, equal_rows=True), for_retraining(dataset)[0]]
        splits = [split for one in data for split in (one.train, one.validation) if split is not None]
        seen.append([view for split in splits for view in (split.audio, split.visual)])
    assert all(disk.is_on_disk(view) for view in seen[0])
    assert not any(disk.is_on_disk(view) for view in seen[1])
    assert [view.tobytes() for view in seen[0]] == [view.tobytes() for view in seen[1]]


def test_processes_of_the_machine_map_the_same_pages_and_others_get_the_values(
    arrays: Arrays, tmp_path: Path, large: None
) -> None:
    save_h5(tmp_path / "plain.h5", arrays)
    data = for_search(read(tmp_path / "plain.h5"), fraction=0.25, folds=None, seed=0)
    near, far = (pickle.dumps(handed(data, same_machine=same)) for same in (True, False))
    code = (
        "import pickle, sys\n"
        "from avtune.data.prepare import received\n"
        "view = received(pickle.load(sys.stdin.buffer))[0].train.visual\n"
        "assert not view.flags.writeable\n"
        "sys.stdout.buffer.write(view.tobytes())"
    )
    there = subprocess.run([sys.executable, "-c", code], input=near, stdout=subprocess.PIPE, check=True).stdout
    assert there == data[0].train.visual.tobytes()
    sent = received(pickle.loads(far))[0].train.visual
    assert not disk.is_on_disk(sent)
    np.testing.assert_array_equal(sent, data[0].train.visual)


def test_mapped_arrays_of_python_are_copied_to_disk(arrays: Arrays, tmp_path: Path, large: None) -> None:
    splits = []
    for split in ("train", "test"):
        for view in ("audio", "visual"):
            np.save(tmp_path / f"{view}.npy", arrays[f"{view}_{split}"])
            arrays[f"{view}_{split}"] = np.load(tmp_path / f"{view}.npy", mmap_mode="r")
        splits.append((arrays[f"audio_{split}"], arrays[f"visual_{split}"], arrays[f"lab_{split}"]))
    made = Dataset.from_arrays(train=splits[0], test=splits[1])
    assert [disk.is_on_disk(view) for view in views(made)] == [True] * 4


def test_only_what_takes_much_of_the_memory_stays_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "available_memory", lambda: 8 << 30)
    assert [disk.is_large(nbytes) for nbytes in (1 << 30, (1 << 30) + 1)] == [False, True]
    monkeypatch.setattr(disk, "available_memory", lambda: 1 << 20)
    assert [disk.is_large(nbytes) for nbytes in (1 << 26, (1 << 26) + 1)] == [False, True]


def test_a_full_disk_is_said_before_anything_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(StorageError, match=r"cannot take 0 MiB of features.*No space left.*\nset TMPDIR"):
        disk.room((10, 30), on_disk=True)
    assert os.listdir(tmp_path) == []


def test_a_file_on_disk_is_checked_like_one_in_memory(arrays: Arrays, tmp_path: Path, large: None) -> None:
    arrays["visual_train"][3, 1] = np.nan
    arrays["visual_train"][7, 0] = np.inf
    save_h5(tmp_path / "bad.h5", arrays)
    with pytest.raises(ValueError, match="2 values are NaN or infinite, the first in row 3, column 1"):
        read(tmp_path / "bad.h5")


def test_a_user_is_told_to_leave_the_file_as_it_is(arrays: Arrays, tmp_path: Path, large: None) -> None:
    save_h5(tmp_path / "plain.h5", arrays)
    (note,) = on_disk_notes(read(tmp_path / "plain.h5"))
    assert note.startswith("features of 0 MiB stay on disk")
    assert on_disk_notes(in_memory(arrays)) == []


def in_memory(arrays: Arrays) -> Dataset:
    train, test = ((arrays[f"audio_{one}"], arrays[f"visual_{one}"], arrays[f"lab_{one}"]) for one in ("train", "test"))
    return Dataset.from_arrays(train=train, test=test)
