"""MATLAB files: what is read is what was saved, whatever version, and nothing is believed that a file declares."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from lab_files import cell, clips, dscmr, dscmr_folder, imgs_deep, save_mat73, wikipedia_folder

from avtune.core.errors import UserError
from avtune.data import Dataset, read
from avtune.data.opening import open_arrays
from avtune.data.options import options_of


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, options_of(**options))
    message = str(caught.value)
    assert message.startswith(str(path)), message
    assert message.count("\n") <= 1
    return message


def assert_holds(dataset: Dataset, made: dict[str, Any], names: tuple[str, ...] = ("1", "2", "3")) -> None:
    for split, part in (("train", dataset.train), ("test", dataset.test)):
        np.testing.assert_allclose(part.audio, made[f"a_{split}"], rtol=1e-6)
        np.testing.assert_allclose(part.visual, made[f"b_{split}"], rtol=1e-6)
        np.testing.assert_array_equal(part.labels, made[f"y_{split}"])
    assert dataset.class_names == names


@pytest.mark.parametrize("packed", [False, True])
def test_what_scipy_writes_is_read(tmp_path: Path, packed: bool) -> None:
    draw = np.random.default_rng(0)
    saved = {
        "single": draw.normal(size=(5, 4)).astype(np.float32),
        "double": draw.normal(size=(3, 2, 4)),
        "small": np.array([[1, 2]], np.uint8),
        "int64": draw.integers(-9, 9, size=(6, 1)),
        "flags": np.array([[True, False]]),
        "large": np.zeros((300, 200)),
        "words": np.array(["cat", "a dog", "goat"]),
        "cells": cell(["cat", "dög", "goat"]),
    }
    scipy.io.savemat(tmp_path / "a.mat", saved, do_compression=packed)
    with open_arrays(tmp_path / "a.mat", ()) as container:
        assert set(container.keys) == saved.keys()
        for key in ("single", "double", "small", "int64", "flags", "large"):
            declared = container.declare(key)
            assert declared.shape == saved[key].shape
            assert declared.size_bytes == declared.read().nbytes
            np.testing.assert_array_equal(declared.read(), scipy.io.loadmat(tmp_path / "a.mat")[key])
        assert container.declare("words").read().tolist() == ["cat", "a dog", "goat"]
        assert container.declare("cells").read().tolist() == ["cat", "dög", "goat"]


def test_dscmr_as_a_folder_and_as_one_file(tmp_path: Path) -> None:
    made = clips()
    dataset = read(dscmr_folder(tmp_path / "pascal", made))
    assert_holds(dataset, made)
    assert (dataset.name, dataset.views) == ("pascal", ("image", "text"))
    both = {**dscmr(made, "train"), **dscmr(made, "test")}
    scipy.io.savemat(tmp_path / "one.mat", both)
    save_mat73(tmp_path / "new.mat", both)
    for name in ("one.mat", "new.mat"):
        again = read(tmp_path / name)
        assert again.digest == dataset.digest
        assert again.views == ("image", "text")


def test_one_column_a_class(tmp_path: Path) -> None:
    made = clips()
    hot = {f"{split}_lab": np.eye(3)[made[f"y_{split}"]] for split in ("train", "test")}
    arrays = {**dscmr(made, "train"), **dscmr(made, "test"), **hot}
    arrays = {key: value for key, value in arrays.items() if not key.endswith(("img_lab", "txt_lab"))}
    scipy.io.savemat(tmp_path / "a.mat", arrays)
    save_mat73(tmp_path / "b.mat", arrays)
    for name in "ab":
        assert_holds(read(tmp_path / f"{name}.mat"), made, ("0", "1", "2"))
    arrays["train_lab"][3, :2] = 1
    scipy.io.savemat(tmp_path / "a.mat", arrays)
    dataset = read(tmp_path / "a.mat")
    assert dataset.is_multi_label
    np.testing.assert_array_equal(dataset.train.labels, arrays["train_lab"] == 1)
    arrays["train_lab"][3] = 0
    scipy.io.savemat(tmp_path / "a.mat", arrays)
    assert "train_lab: 1 of 12 clips has no label, the first in row 3" in refused(tmp_path / "a.mat")


def test_views_whose_labels_differ_are_no_pairs(tmp_path: Path) -> None:
    made = clips()
    folder = dscmr_folder(tmp_path / "pascal", made)
    other = made["y_test"][:, None] + 1
    other[2] = 9
    scipy.io.savemat(folder / "test_txt_lab.mat", {"test_txt_lab": other})
    assert "differ in 1 row: the views of these rows are of different classes" in refused(folder)


def test_cell_arrays_of_views(tmp_path: Path) -> None:
    made = clips(train=18, test=0)
    x, y = [made["a_train"], made["b_train"], made["a_train"][:, :4]], made["y_train"][:, None] + 1
    scipy.io.savemat(tmp_path / "old.mat", {"X": cell(x), "Y": y}, do_compression=True)
    scipy.io.savemat(tmp_path / "turned.mat", {"X": cell([one.T for one in x]), "Y": y})
    save_mat73(tmp_path / "new.mat", {"X": x, "Y": made["y_train"] + 1})
    digests = set()
    for name in ("old", "turned", "new"):
        path = tmp_path / f"{name}.mat"
        assert "has 3 views; choose two of them, counted from 0: --views 0,1" in refused(path)
        assert "has no test split; add --test-fraction 0.2" in refused(path, views="0,1")
        assert "has views 0 to 2" in refused(path, views="0,3")
        dataset = read(path, options_of(views="1,2", test_fraction=0.34))
        assert (dataset.audio_dim, dataset.visual_dim, len(dataset.test)) == (7, 4, 6)
        assert dataset.views == ("view1", "view2")
        assert dataset.options == {"views": "1,2", "test_fraction": 0.34}
        digests.add(dataset.digest)
    assert len(digests) == 1


@pytest.mark.parametrize("form", ["5", "5 packed", "7.3"])
def test_sparse_matrices_are_read_full(tmp_path: Path, form: str) -> None:
    draw = np.random.default_rng(0)
    made = {
        "some": draw.integers(0, 2, size=(30, 7)) * draw.normal(size=(30, 7)),
        "none": np.zeros((4, 3)),
        "last": np.eye(5)[:, ::-1] * 3,
    }
    path = tmp_path / "a.mat"
    sparse = {key: scipy.sparse.csc_matrix(value) for key, value in made.items()}
    if form == "7.3":
        save_mat73(path, {**sparse, "X": list(sparse.values())})
    else:
        scipy.io.savemat(path, {**sparse, "X": cell(list(sparse.values()))}, do_compression="packed" in form)
    with open_arrays(path, ()) as container:
        assert container.cells is not None
        assert not container.inner()
        inside = container.cells("X")
        for place, (key, value) in enumerate(made.items()):
            for declared in (container.declare(key), inside[place]):
                assert declared.shape == value.shape
                np.testing.assert_array_equal(declared.read(), value)


def test_a_sparse_group_of_hdf5_is_not_believed(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "a.mat"
    made = scipy.sparse.csc_matrix(np.eye(4))
    for spoil, said in (
        (lambda x: x.attrs.modify("MATLAB_sparse", np.uint64(10**12)), "a sparse matrix of shape (1000000000000, 4)"),
        (lambda x: x["ir"].write_direct(np.array([0, 1, 2, 4], np.uint64)), "the places of its values are damaged"),
        (lambda x: x["jc"].write_direct(np.array([0, 3, 2, 3, 4], np.uint64)), "the places of its values are damaged"),
        (lambda x: x.__delitem__("ir"), "there is no such array"),
        (lambda x: (x.__delitem__("ir"), x.__setitem__("ir", h5py.ExternalLink("b.h5", "ir"))), "is a link"),
        (lambda x: (x.__delitem__("data"), x.__setitem__("data", np.zeros(4, complex))), "complex numbers"),
    ):
        save_mat73(path, {"X": made})
        with h5py.File(path, "r+") as file:
            spoil(file["X"])
        with open_arrays(path, ()) as container, pytest.raises(UserError) as caught:
            container.declare("X").read()
        assert said in str(caught.value)


def test_flags_of_a_sparse_matrix_are_bytes_that_matlab_calls_doubles(tmp_path: Path) -> None:
    places = element(5, struct.pack("<3i", 1, 0, 2)) + element(5, struct.pack("<3i", 0, 1, 3))
    body = element(6, struct.pack("<II", 5 | 0x200, 3)) + element(5, struct.pack("<2i", 3, 2)) + element(1, b"Y")
    path = mat5(tmp_path / "a.mat", element(14, body + places + element(9, b"\1\1\1")))
    with open_arrays(path, ()) as container:
        assert container.declare("Y").read().tolist() == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize("part", [(1, (9, 0)), (1, (1, -5)), (2, (1, 0, 2)), (2, (0, 5, 5)), (2, (0, 1))])
def test_places_of_sparse_values_are_not_believed(tmp_path: Path, part: tuple[int, tuple[int, ...]]) -> None:
    numbers = {1: (1, 0), 2: (0, 1, 2)} | {part[0]: part[1]}  # rows, and where each column begins
    values = b"".join(element(5, struct.pack(f"<{len(one)}i", *one)) for one in numbers.values())
    path = mat5(tmp_path / "a.mat", matrix("X", 5, (3, 2), values + element(9, bytes(16))))
    with open_arrays(path, ()) as container, pytest.raises(UserError, match="the places of its values are damaged"):
        container.declare("X").read()


def test_labels_in_a_cell_array_are_those_of_each_view(tmp_path: Path) -> None:
    made = clips(train=18, test=0)
    x, y = [made["a_train"].T, made["b_train"].T], made["y_train"][:, None] + 1
    scipy.io.savemat(tmp_path / "a.mat", {"data": cell(x), "truelabel": cell([y, y])})
    save_mat73(tmp_path / "b.mat", {"data": x, "truelabel": [y, y]})
    digests = {read(tmp_path / f"{name}.mat", options_of(test_fraction=0.34)).digest for name in "ab"}
    assert len(digests) == 1
    other = y.copy()
    other[3] += 1
    scipy.io.savemat(tmp_path / "a.mat", {"data": cell(x), "truelabel": cell([y, other])})
    assert "differ in 1 row: the views of these rows" in refused(tmp_path / "a.mat", test_fraction=0.34)


def test_a_struct_is_opened_by_map(tmp_path: Path) -> None:
    made = clips(train=18, test=0)
    path = tmp_path / "a.mat"
    inside = {
        "X1": made["a_train"].T,
        "X2": made["b_train"].T,
        "Y": scipy.sparse.csc_matrix(np.eye(3)[made["y_train"]]),
    }
    scipy.io.savemat(path, {"data": inside, "about": "words"}, do_compression=True)
    message = refused(path)
    given = message.partition("--map ")[2].partition(" --test-fraction")[0]
    assert given == "data_x1=data/X1.T,data_x2=data/X2.T,labels=data/Y"
    dataset = read(path, options_of(map=given, test_fraction=0.34))
    rows = np.concatenate([dataset.train.visual, dataset.test.visual])
    np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(made["b_train"], axis=0), rtol=1e-6)
    wrong = refused(path, map=given.replace("X2", "X3"), test_fraction=0.34)
    assert "has no 'data/X3'; did you mean 'data/X" in wrong


def test_damage_in_a_struct_is_told_where_its_array_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    odd = matrix("", 6, (2, 2), element(14, bytes(32)))
    fields = element(5, struct.pack("<i", 8)) + element(1, b"X1".ljust(8, b"\0") + b"X2".ljust(8, b"\0"))
    mat5(path, matrix("data", 2, (1, 1), fields + matrix("", 6, (1, 1), element(9, bytes(8))) + odd))
    with open_arrays(path, ()) as container:
        assert container.inner() == ("data/X1", "data/X2")
        assert container.declare("data/X1").read().tolist() == [[0]]
        with pytest.raises(UserError, match=r"data/X2 cannot be read; .* 32 bytes of the type 14"):
            container.declare("data/X2")
    mat5(path, matrix("data", 2, (1, 1), fields + odd), matrix("Y", 6, (1, 1), element(9, bytes(8))))
    assert "has 'data', 'Y', which is no layout" in refused(path)


def test_files_of_the_first_matlab_that_wrote_hdf5(tmp_path: Path) -> None:
    made = clips()
    path = tmp_path / "a.mat"
    save_mat73(path, {**dscmr(made, "train"), **dscmr(made, "test")})
    digest = read(path).digest
    path.write_bytes(path.read_bytes().replace(b"MATLAB 7.3", b"MATLAB 7.0", 1))
    assert read(path).digest == digest


def test_matrices_of_cross_modal_hashing(tmp_path: Path) -> None:
    made = clips()
    keys = {"I": "a", "T": "b", "L": "y"}
    arrays = {f"{key}_{split[:2]}": made[f"{of}_{split}"] for key, of in keys.items() for split in ("train", "test")}
    scipy.io.savemat(tmp_path / "a.mat", arrays)
    dataset = read(tmp_path / "a.mat")
    assert_holds(dataset, made, ("0", "1", "2"))
    assert dataset.views == ("image", "text")


def test_deep_image_features(tmp_path: Path) -> None:
    made = clips(val=6)
    dataset = read(imgs_deep(tmp_path / "wiki.h5py", made))
    assert dataset.views == ("image", "text")
    assert dataset.class_names == ("1", "2", "3")
    assert len(dataset.train) == 18
    assert dataset.validation is not None
    np.testing.assert_array_equal(dataset.validation, np.arange(12, 18))
    np.testing.assert_array_equal(dataset.train.audio[dataset.validation], made["a_val"])
    np.testing.assert_array_equal(dataset.train.labels, np.concatenate([made["y_train"], made["y_val"]]))
    arrays = {
        f"{split}_{name}": made[f"{key}_{split}"]
        for split in ("train", "test")
        for key, name in (("a", "imgs_deep"), ("b", "texts_doc"), ("y", "imgs_labels"))
    }
    scipy.io.savemat(tmp_path / "wiki.mat", arrays)
    assert_holds(read(tmp_path / "wiki.mat"), made, ("0", "1", "2"))


def test_half_a_validation_split_is_not_ignored(tmp_path: Path) -> None:
    made = clips(val=6)
    path = imgs_deep(tmp_path / "wiki.h5", made)
    import h5py

    with h5py.File(path, "a") as file:
        del file["valid_texts"]
    message = refused(path)
    assert "has valid_imgs_deep, valid_imgs_labels and no array for validation like train_texts" in message


def test_wikipedia(tmp_path: Path) -> None:
    made = clips()
    folder = wikipedia_folder(tmp_path / "wikipedia_dataset", made)
    for path in (folder, folder / "raw_features.mat"):
        dataset = read(path)
        assert_holds(dataset, made, ("art", "biology", "geography"))
        assert dataset.views == ("image", "text")
    (folder / "testset_txt_img_cat.list").write_text("a\tb\t1\nc\td\n")
    with pytest.raises(UserError, match=r"line 2: 'c.*' does not end with the number of a class"):
        read(folder)
    (folder / "testset_txt_img_cat.list").unlink()
    with pytest.raises(UserError, match="is missing; it has the class of each clip"):
        read(folder)


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(name: str, kind: int, shape: tuple[int, ...], values: bytes, packed: bool = False) -> bytes:
    """An array of a MATLAB 5 file that declares whatever is wanted."""
    body = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    body += element(1, name.encode()) + values
    whole = element(14, body)
    return struct.pack("<II", 15, len(z := zlib.compress(whole))) + z if packed else whole


def mat5(path: Path, *arrays: bytes) -> Path:
    path.write_bytes(b"MATLAB 5.0 MAT-file, by hand".ljust(124) + b"\x00\x01IM" + b"".join(arrays))
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_declared_is_not_believed(tmp_path: Path, packed: bool) -> None:
    deep = element(9, b"")
    for _ in range(3000):
        deep = matrix("", 1, (1, 1), deep)
    for array, said in (
        (matrix("X", 6, (10**6, 10**6), element(9, bytes(80)), packed), "declares the shape (1000000, 1000000)"),
        (matrix("X", 6, (3, 3), struct.pack("<II", 9, 2**31), packed), "bytes of the type 9"),
        (matrix("X", 1, (50_000, 50_000), b"", packed), "is a cell array of 2500000000 arrays"),
        (matrix("X", 1, (1, 1), deep, packed), "is a cell array; a matrix is expected"),
        (matrix("X", 2, (1, 1), b"", packed), "is a struct; a matrix is expected"),
        (
            matrix("X", 5, (10**6, 10**6), element(5, bytes(8)), packed),
            "is a sparse matrix of shape (1000000, 1000000)",
        ),
        (matrix("X", 6, (-1, 3), element(9, bytes(24)), packed), "declares the shape (-1, 3)"),
        (matrix("X" * 5000, 6, (1, 1), element(9, bytes(8)), packed), "a part of its header has 5000 bytes"),
    ):
        path = mat5(tmp_path / "a.mat", array)
        with pytest.raises(UserError, match=r"(?s).") as caught, open_arrays(path, ()) as container:
            container.declare("X")
        assert said in str(caught.value)
        with pytest.raises(UserError):
            read(path)


def test_kinds_that_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    saved = {"s": scipy.sparse.csc_matrix(np.eye(3) * 1j), "c": np.ones((2, 2)) * 1j, "d": {"a": 1}}
    scipy.io.savemat(path, saved)
    with open_arrays(path, ()) as container:
        for key, said in (
            ("s", "complex numbers"),
            ("c", "complex numbers"),
            ("d", "a struct"),
        ):
            with pytest.raises(UserError, match=said):
                container.declare(key)
    twice = matrix("X", 6, (1, 1), element(9, bytes(8)))
    assert "it holds X twice" in refused(mat5(path, twice, twice))


def test_damage_is_seen(tmp_path: Path) -> None:
    made = clips()
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {**dscmr(made, "train"), **dscmr(made, "test")}, do_compression=True)
    whole = path.read_bytes()
    digest = read(path).digest
    for length in range(100, len(whole) - 1, 131):
        path.write_bytes(whole[:length])
        refused(path)
    unseen = 0
    for place in range(128, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            unseen += read(path).digest != digest
        except UserError:
            continue
    assert not unseen, "checksums are read"


def test_mat73_cells_that_are_no_matrices(tmp_path: Path) -> None:
    import h5py

    made = clips()
    path = tmp_path / "a.mat"
    save_mat73(path, {"X": [made["a_train"], made["b_train"]], "Y": made["y_train"] + 1})
    with h5py.File(path, "r+") as file:
        file["#refs#"].create_group("g")
        file["X"][1, 0] = file["#refs#/g"].ref
    assert "X{2} is no matrix" in refused(path, test_fraction=0.3)
