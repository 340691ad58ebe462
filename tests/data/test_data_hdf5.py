"""HDF5 files as they are read and written. Long: every kind of file that is read or refused is here once."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from avtune.core.errors import UserError
from avtune.data import Dataset, read, write_hdf5
from avtune.data.layouts import hdf5_text

Arrays = dict[str, Any]
WriteH5 = Callable[[Arrays], Path]


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.count("\n") <= 1
    return message


def assert_holds(dataset: Dataset, arrays: Arrays) -> None:
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        np.testing.assert_array_equal(split.audio, arrays[f"audio_{name}"])
        np.testing.assert_array_equal(split.visual, arrays[f"visual_{name}"])
        np.testing.assert_array_equal(np.array([4, 7, 9])[split.labels], np.ravel(arrays[f"lab_{name}"]))


def test_six_keys(arrays: Arrays, write_h5: WriteH5) -> None:
    path = write_h5(arrays)
    dataset = read(path)
    assert_holds(dataset, arrays)
    assert (dataset.name, dataset.source, dataset.class_names) == ("features", str(path), ("4", "7", "9"))


def test_labels_in_a_column_and_as_text(arrays: Arrays, write_h5: WriteH5) -> None:
    column = {**arrays, "lab_train": arrays["lab_train"][:, None], "lab_test": [str(v) for v in arrays["lab_test"]]}
    assert_holds(read(write_h5(column)), arrays)
    fixed = {**arrays, "lab_train": arrays["lab_train"].astype("S3")}
    assert_holds(read(write_h5(fixed)), arrays)


@pytest.mark.parametrize("form", ["bytes", "text", "int", "column"])
def test_four_keys(arrays: Arrays, write_h5: WriteH5, form: str) -> None:
    order = np.random.default_rng(1).permutation(18)
    in_train = np.repeat([1, 0], [12, 6])[order]
    marks = {
        "bytes": in_train.astype("S1"),
        "text": [str(v) for v in in_train],
        "int": in_train,
        "column": in_train[:, None],
    }[form]
    both = {part: np.concatenate([arrays[f"{part}_train"], arrays[f"{part}_test"]])[order] for part in PARTS}
    given = {"audio_feat": both["audio"], "visual_feat": both["visual"], "Label_ID": both["lab"], "Train_test": marks}
    expected = {
        f"{part}_{split}": both[part][in_train == value]
        for part in PARTS
        for split, value in (("train", 1), ("test", 0))
    }
    assert_holds(read(write_h5(given)), expected)


PARTS = ("audio", "visual", "lab")


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (["1", "1", "0", "2"], "Train_test holds '2' in row 3; allowed: train, val and test, or 1 for a training clip"),
        (["1", "1", "1", "1"], "Train_test marks no clip as test"),
        (["1", "1", "0"], "Train_test has 3 rows and Label_ID has 4 labels; row i of each must be the same clip"),
        (["1", "trian", "0", "0"], "Train_test holds 'trian' in row 1"),
    ],
)
def test_four_keys_with_wrong_marks(write_h5: WriteH5, marks: list[str], said: str) -> None:
    x = np.zeros((4, 2))
    path = write_h5({"audio_feat": x, "visual_feat": x, "Label_ID": [0, 1, 0, 1], "Train_test": marks})
    assert said in refused(path)


def test_four_keys_are_named_in_errors(write_h5: WriteH5) -> None:
    x = np.zeros((5, 2))
    x[3, 1] = np.nan
    marks = [1, 1, 1, 0, 0]
    path = write_h5({"audio_feat": x, "visual_feat": x * 0, "Label_ID": [0, 1, 0, 1, 0], "Train_test": marks})
    assert "audio_feat: 1 value is NaN or infinite, the first in row 3, column 1" in refused(path)
    path = write_h5({"audio_feat": x * 0 + 1, "visual_feat": x[:3], "Label_ID": [0] * 5, "Train_test": marks})
    assert "visual_feat has 3 rows" in refused(path)
    good = np.ones((5, 2))
    path = write_h5({"audio_feat": good, "visual_feat": good, "Label_ID": [0, 1, 0, 1, 0], "Train_test": marks})
    assert "Label_ID has too few clips of '1' (1 clip)" in refused(path)


def test_class_names(arrays: Arrays, write_h5: WriteH5) -> None:
    assert read(write_h5({**arrays, "class_names": ["cat", "dog", "Küken"]})).class_names == ("cat", "dog", "Küken")
    assert "class_names must be one text a class" in refused(write_h5({**arrays, "class_names": [1, 2, 3]}))
    assert "class_names is a single text" in refused(write_h5({**arrays, "class_names": "cat"}))
    assert "a text of 300 characters" in refused(write_h5({**arrays, "class_names": ["a", "b", "c" * 300]}))


@pytest.mark.parametrize(
    ("attribute", "names"),
    [(json.dumps(["cat", "dog", "goat"]), ("cat", "dog", "goat")), ("[1, 2, 3]", None), ("{", None), (3, None)],
)
def test_class_names_in_an_attribute(arrays: Arrays, write_h5: WriteH5, attribute: Any, names: Any) -> None:
    path = write_h5(arrays)
    with h5py.File(path, "a") as file:
        file.attrs["classes"] = attribute
    assert read(path).class_names == (names or ("4", "7", "9"))


def test_missing_key_names_the_nearest(arrays: Arrays, write_h5: WriteH5) -> None:
    arrays["visual_trian"] = arrays.pop("visual_train")
    assert "has no key 'visual_train'; did you mean 'visual_trian'?" in refused(write_h5(arrays))


def test_other_keys_are_listed(write_h5: WriteH5) -> None:
    message = refused(write_h5({"features": [1.0], "labels": [1]}))
    assert "has 'features', 'labels', which is no layout that is known" in message
    assert "--map audio_train=KEY" in message


def test_no_such_file_names_the_nearest(arrays: Arrays, write_h5: WriteH5) -> None:
    path = write_h5(arrays)
    assert f"no such file; did you mean '{path.name}'?" in refused(path.with_name("feature.h5"))
    assert "there is no folder" in refused(path.parent / "nowhere" / "features.h5")


def test_what_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\xff\xfe\xfd\xfc" * 5)
    assert "neither HDF5, .mat nor .npz" in refused(tmp_path / "a.h5")
    os.mkfifo(tmp_path / "pipe.h5")
    assert "no regular file" in refused(tmp_path / "pipe.h5")


def test_unreadable_file_is_refused(arrays: Arrays, write_h5: WriteH5, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_h5(arrays)

    def deny(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", deny)
    assert "cannot be read: Permission denied" in refused(path)


def test_truncated_anywhere_is_refused(arrays: Arrays, write_h5: WriteH5) -> None:
    path = write_h5(arrays)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        refused(path)


def test_damaged_chunk_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file.create_dataset(key, data=value, chunks=value.shape, compression="gzip", fletcher32=True)
        where = file["visual_train"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[where.byte_offset + where.size // 2] ^= 0xFF
    path.write_bytes(content)
    assert "visual_train cannot be read; the file may be truncated or damaged" in refused(path)


def test_huge_declared_shape_is_refused_before_reading(arrays: Arrays, write_h5: WriteH5) -> None:
    del arrays["visual_test"]
    path = write_h5(arrays)
    with h5py.File(path, "a") as file:
        file.create_dataset("visual_test", (10**9, 10**6), np.float32, chunks=(100, 100), compression="gzip")
    assert path.stat().st_size < 50_000
    assert "visual_test declares 4000000000000000 bytes and the file holds 0 for it; it is damaged" in refused(path)


@pytest.mark.parametrize("kind", ["hard", "soft", "external", "group"])
def test_links_and_groups(arrays: Arrays, write_h5: WriteH5, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = arrays["audio_test"]
    audio = arrays.pop("audio_test")
    path = write_h5(arrays)
    with h5py.File(path, "a") as file:
        file["away"] = h5py.ExternalLink(other.name, "/")
        if kind == "hard":
            file["copy"] = audio
            file["audio_test"] = file["copy"]
        elif kind == "soft":
            file["audio_test"] = h5py.SoftLink("/away/x")
        elif kind == "external":
            file["audio_test"] = h5py.ExternalLink(other.name, "x")
        else:
            file.create_group("audio_test")
    if kind == "hard":
        assert_holds(read(path), {**arrays, "audio_test": audio})
    else:
        assert f"audio_test is a {'group' if kind == 'group' else 'link'}" in refused(path)


def test_data_in_another_file_is_refused(arrays: Arrays, write_h5: WriteH5, tmp_path: Path) -> None:
    audio = arrays.pop("audio_test")
    (tmp_path / "raw.bin").write_bytes(audio.tobytes())
    path = write_h5(arrays)
    with h5py.File(path, "a") as file:
        file.create_dataset("audio_test", audio.shape, "f4", external=[(str(tmp_path / "raw.bin"), 0, audio.nbytes)])
    assert "audio_test keeps its data in another file" in refused(path)

    path = write_h5(arrays)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = audio
    layout = h5py.VirtualLayout(audio.shape, "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", audio.shape)
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("audio_test", layout)
    assert "audio_test keeps its data in another file" in refused(path)


def test_odd_types_are_refused(arrays: Arrays, write_h5: WriteH5) -> None:
    audio = arrays.pop("audio_test")
    for dtype, said in (
        (h5py.vlen_dtype(np.float32), "holds rows of different lengths"),
        (h5py.ref_dtype, "holds rows of different lengths or references"),
        (np.dtype([("a", "f4")]), "features are real numbers"),
        (h5py.string_dtype(), "audio_test holds text"),
        (np.dtype("c8"), "audio_test holds complex numbers"),
    ):
        path = write_h5(arrays)
        with h5py.File(path, "a") as file:
            file.create_dataset("audio_test", audio.shape, dtype)
        assert said in refused(path)
    path = write_h5(arrays)
    with h5py.File(path, "a") as file:
        file["audio_test"] = h5py.Empty("f4")
    assert "audio_test is empty" in refused(path)


def test_write_then_read(arrays: Arrays, write_h5: WriteH5, tmp_path: Path) -> None:
    dataset = read(write_h5({**arrays, "class_names": ["cat", "dog", "Küken"]}))
    written = tmp_path / "converted.h5"
    write_hdf5(dataset, written)
    again = read(written)
    assert again.digest == dataset.digest
    assert again.class_names == ("cat", "dog", "Küken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["converted.h5", "features.h5"]


def test_write_overwrites_only_when_told(arrays: Arrays, write_h5: WriteH5) -> None:
    path = write_h5(arrays)
    dataset, before = read(path), path.read_bytes()
    with pytest.raises(UserError, match="exists"):
        write_hdf5(dataset, path)
    assert path.read_bytes() == before
    write_hdf5(dataset, path, overwrite=True)
    assert path.read_bytes() != before
    assert read(path).digest == dataset.digest


def test_write_that_fails_leaves_the_old_file(
    arrays: Arrays, write_h5: WriteH5, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_h5(arrays)
    dataset, before = read(path), path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        write_hdf5(dataset, path, overwrite=True)
    assert path.read_bytes() == before
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_write_into_no_folder_is_refused(arrays: Arrays, write_h5: WriteH5, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        write_hdf5(read(write_h5(arrays)), tmp_path / "nowhere" / "x.h5")


@pytest.mark.parametrize(("name", "sizes"), [("yt8m_ave15.h5", (1663, 417, 15)), ("yt8m_10s.h5", (4800, 1200, 10))])
def test_real_files(real_data: Callable[[str], Path], name: str, sizes: tuple[int, int, int]) -> None:
    dataset = read(real_data(name))
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == sizes
    assert (dataset.audio_dim, dataset.visual_dim) == (128, 1024)
    assert dataset.class_names[0] in ("Dog", "Video game")


def test_arrays_out_of_proportion_to_what_is_stored_are_refused(arrays: Arrays, write_h5: WriteH5) -> None:
    for shape, chunks, said in (
        ((20000, 1000), (100, 100), "the file holds 0 for it"),
        ((12, 3), (2**13, 2**12), "chunks of"),
    ):
        del arrays["visual_train"]
        path = write_h5(arrays)
        with h5py.File(path, "a") as file:
            made = file.create_dataset("visual_train", shape, np.float32, maxshape=(None, None), chunks=chunks)
            assert said != "chunks of" or made.id.get_storage_size() == 0
        arrays["visual_train"] = 0
        message = refused(path)
        assert said in message
        assert "visual_train" in message


def test_text_that_the_library_never_ends_with_is_refused(arrays: Arrays, write_h5: WriteH5) -> None:
    """The heap of a text of any length, damaged so that its walk does not advance."""
    path = write_h5({**arrays, "class_names": ["cat", "dog", "goat"]})
    content = path.read_bytes()
    heap = content.index(b"GCOL")
    before, hdf5_text.CPU_SECONDS = hdf5_text.CPU_SECONDS, 1
    try:
        path.write_bytes(content[: heap + 16] + bytes(4096 - 16) + content[heap + 4096 :])
        assert "class_names cannot be read" in refused(path)
    finally:
        hdf5_text.CPU_SECONDS = before


def with_names(arrays: Arrays) -> Arrays:
    """Names of any length: they are read by a process of its own."""
    return {**arrays, "class_names": ["cat", "dog", "goat"]}


def test_a_file_that_is_open_for_writing_is_not_called_damaged(arrays: Arrays, write_h5: WriteH5) -> None:
    path = write_h5(with_names(arrays))
    with h5py.File(path, "a"):
        message = refused(path)
    assert "is open for writing in another program" in message
    assert "damaged" not in message
    assert_holds(read(path), arrays)


def test_a_file_that_others_read_is_read(arrays: Arrays, write_h5: WriteH5) -> None:
    path = write_h5(with_names(arrays))
    with h5py.File(path, "r"):
        assert_holds(read(path), arrays)


def test_the_mark_of_a_writer_in_the_file_is_not_called_damage(arrays: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for key, value in arrays.items():
            file[key] = value
        file.flush()
        shutil.copy(path, tmp_path / "copy.h5")
    message = refused(tmp_path / "copy.h5")
    assert "is marked as open for writing" in message
    assert "h5clear" in message


def test_neither_reading_nor_writing_needs_locks(
    arrays: Arrays, write_h5: WriteH5, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a lock on the file that h5py would wait for, while ours is answered as by a file system without locks."""
    path = write_h5(with_names(arrays))
    given: list[Any] = []
    whole = h5py.File.__init__

    def opened(self: Any, *args: Any, **more: Any) -> None:
        if isinstance(args[0], str | Path):  # and not one that is open already
            given.append(more.get("locking"))
        whole(self, *args, **more)

    def no_locks(*args: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with path.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        monkeypatch.setattr(fcntl, "flock", no_locks)
        monkeypatch.setattr(h5py.File, "__init__", opened)
        dataset = read(path)
        assert dataset.class_names == ("cat", "dog", "goat")
        assert_holds(dataset, arrays)
    write_hdf5(dataset, tmp_path / "copy.h5")
    assert given
    assert not any(given)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOLCK, errno.EIO, errno.EAGAIN])
def test_what_the_system_has_against_a_file_is_no_damage(
    arrays: Arrays, write_h5: WriteH5, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = write_h5(arrays)

    def fails(*args: Any, **more: Any) -> None:
        raise OSError(number, f"[Errno {number}] Unable to synchronously open file")

    monkeypatch.setattr(h5py.File, "__init__", fails)
    assert refused(path) == f"{path} cannot be read: {os.strerror(number)}"


def test_a_folder_that_cannot_be_synced_is_written_to(
    arrays: Arrays, write_h5: WriteH5, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dataset, sync, codes = read(write_h5(arrays)), os.fsync, [errno.EINVAL, errno.EIO]

    def refuses_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(codes[0], os.strerror(codes[0]))
        sync(handle)

    monkeypatch.setattr(os, "fsync", refuses_folders)
    write_hdf5(dataset, tmp_path / "copy.h5")
    assert read(tmp_path / "copy.h5").digest == dataset.digest
    codes.pop(0)
    with pytest.raises(UserError, match="cannot be written: Input/output error"):
        write_hdf5(dataset, tmp_path / "copy.h5", overwrite=True)


def test_an_unknown_compression_is_named(arrays: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file.create_dataset(key, data=value, compression="gzip" if key == "visual_train" else None)
    content = bytearray(path.read_bytes())
    at = content.index(b"deflate") - 8  # where the filter's number is, before lengths, flags and its name
    assert content[at : at + 2] == b"\x01\x00"
    content[at : at + 2] = (32001).to_bytes(2, "little")
    path.write_bytes(content)
    message = refused(path)
    assert "visual_train is compressed by the filter 32001" in message
    assert "damaged" not in message


def test_text_that_is_not_what_is_asked_for_is_not_damage(arrays: Arrays, write_h5: WriteH5) -> None:
    for names, said in (
        (np.array([b"K\xfcken", b"cat", b"dog"]), "not UTF-8"),
        (np.array([b"K\xfcken", b"cat", b"dog"], object), "not UTF-8"),
        (["a", "b", "c" * 300], "300 characters; at most 200"),
    ):
        message = refused(write_h5({**arrays, "class_names": names}))
        assert said in message
        assert "damaged" not in message


def test_labels_in_a_row_are_read(arrays: Arrays, write_h5: WriteH5) -> None:
    """As MATLAB leaves a column."""
    assert_holds(
        read(write_h5({**arrays, "lab_train": arrays["lab_train"][None], "lab_test": arrays["lab_test"][None]})), arrays
    )
    both = {part: np.concatenate([arrays[f"{part}_train"], arrays[f"{part}_test"]]) for part in PARTS}
    marks = np.repeat([1, 0], [12, 6])
    given = {
        "audio_feat": both["audio"],
        "visual_feat": both["visual"],
        "Label_ID": both["lab"][None],
        "Train_test": marks[None],
    }
    assert_holds(read(write_h5(given)), arrays)


def test_splits_with_labels_of_two_forms_are_refused(arrays: Arrays, write_h5: WriteH5) -> None:
    one_hot = np.eye(10)[arrays["lab_train"]]
    message = refused(write_h5({**arrays, "lab_train": one_hot}))
    assert "lab_train has shape (12, 10)" in message
    assert "the labels of all splits have the same form" in message


def test_arrays_turned_round_are_refused_with_the_way_out(arrays: Arrays, write_h5: WriteH5) -> None:
    path = write_h5({key: np.atleast_2d(value).T if key[:3] != "lab" else value[None] for key, value in arrays.items()})
    message = refused(path)
    assert "turned round, [dims, clips], as MATLAB 7.3 leaves them" in message
    scope: dict[str, Any] = {}
    exec(message.partition("in Python: ")[2], scope)
    assert_holds(read(path.with_suffix(".npz")), arrays)
    scope["d"].close()
    message = refused(write_h5({**arrays, "audio_test": arrays["audio_test"].T}))
    assert "audio_test has shape (10, 6), and lab_test has 6 labels: the columns seem to be the clips" in message
    assert "audio_test.T" in message
