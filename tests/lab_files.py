"""Files as their publishers make them, small: MATLAB's transposition in 7.3, cell arrays, labels from 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.sparse

CLASSES = 3
DIMS = (10, 7)


def clips(train: int = 12, test: int = 6, val: int = 0, seed: int = 0) -> dict[str, Any]:
    """Two views `a` and `b` and labels `y` (0..2) of each split: `a_train`, ..."""
    draw = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for split, count in (("train", train), ("val", val), ("test", test)):
        if count:
            made[f"a_{split}"] = draw.normal(size=(count, DIMS[0])).astype(np.float32)
            made[f"b_{split}"] = draw.normal(size=(count, DIMS[1])).astype(np.float32)
            made[f"y_{split}"] = draw.permutation(np.arange(count) % CLASSES)
    return made


def several(count: int, classes: int = 4, seed: int = 0) -> Any:
    """Labels of several a clip: bool [count, classes], a rarer one a column, one at least in every row."""
    draw = np.random.default_rng(seed)
    labels = draw.random((count, classes)) < np.geomspace(0.6, 0.15, classes)
    labels[np.arange(count), np.arange(count) % classes] = True
    return labels


def save_mat73(path: Path, arrays: Mapping[str, Any]) -> None:
    """As MATLAB's `save -v7.3` does: a text of 512 bytes in front, matrices transposed, each with its class, cell
    arrays as references into `#refs#`, texts as their letters in uint16, sparse matrices as groups."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in arrays.items():
            _put(file, file, name, value)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 ."
    with path.open("r+b") as file:
        file.write(head.ljust(116) + bytes(8) + b"\x00\x02IM")


def _put(file: Any, group: Any, name: str, value: Any) -> Any:
    if isinstance(value, list):
        refs = file.require_group("#refs#")
        cells = [_put(file, refs, f"{name}{place}", one).ref for place, one in enumerate(value)]
        made = group.create_dataset(name, data=np.array(cells, h5py.ref_dtype)[:, None], dtype=h5py.ref_dtype)
        kind = "cell"
    elif isinstance(value, str):
        letters = np.frombuffer(value.encode("utf-16-le"), np.uint16)[:, None]
        made, kind = group.create_dataset(name, data=letters), "char"
    elif scipy.sparse.issparse(value):
        made, kind = group.create_group(name), "double"
        made.attrs["MATLAB_sparse"] = np.uint64(value.shape[0])
        made["jc"] = value.indptr.astype(np.uint64)
        if value.nnz:
            made["data"], made["ir"] = value.data, value.indices.astype(np.uint64)
    else:
        matrix = np.atleast_2d(value.T) if value.ndim > 1 else value[None, :]  # a column [N, 1], transposed
        made, kind = group.create_dataset(name, data=matrix), "double" if matrix.dtype.kind == "f" else "int64"
    made.attrs["MATLAB_class"] = np.bytes_(kind)
    return made


def cell(values: list[Any]) -> Any:
    """A cell array {1, n} as scipy.io.savemat writes it."""
    made = np.empty((1, len(values)), object)
    for place, value in enumerate(values):
        made[0, place] = value
    return made


def dscmr_folder(folder: Path, made: Mapping[str, Any]) -> Path:
    """`train_img.mat` with `train_img`, and so on, labels from 1 in a column."""
    folder.mkdir()
    for split in ("train", "test"):
        for name, array in dscmr(made, split).items():
            scipy.io.savemat(folder / f"{name}.mat", {name: array}, do_compression=split == "train")
    return folder


def dscmr(made: Mapping[str, Any], split: str) -> dict[str, Any]:
    """The arrays of a split as DSCMR's code names them."""
    labels = made[f"y_{split}"][:, None] + 1
    return {
        f"{split}_img": made[f"a_{split}"].astype(np.float64),
        f"{split}_txt": made[f"b_{split}"],
        f"{split}_img_lab": labels.astype(np.uint8),
        f"{split}_txt_lab": labels.astype(np.uint8),
    }


def imgs_deep(path: Path, made: Mapping[str, Any]) -> Path:
    """One HDF5 of three splits, labels from 1."""
    with h5py.File(path, "w") as file:
        for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
            file[f"{name}_imgs_deep"] = made[f"a_{split}"]
            file[f"{name}_texts"] = made[f"b_{split}"].astype(np.float16)
            file[f"{name}_imgs_labels"] = (made[f"y_{split}"] + 1).astype(np.int16)
            file[f"{name}_texts_labels"] = (made[f"y_{split}"] + 1).astype(np.int16)
    return path


def wikipedia_folder(folder: Path, made: Mapping[str, Any]) -> Path:
    """`raw_features.mat` and the lists beside it: text, image and class of a line, from 1."""
    folder.mkdir()
    names = {"I_tr": "a_train", "T_tr": "b_train", "I_te": "a_test", "T_te": "b_test"}
    scipy.io.savemat(folder / "raw_features.mat", {key: made[name] for key, name in names.items()})
    for split in ("train", "test"):
        lines = [f"{'0' * 8}-{row}\t{row}.jpg\t{label + 1}\n" for row, label in enumerate(made[f"y_{split}"])]
        (folder / f"{split}set_txt_img_cat.list").write_text("".join(lines))
    (folder / "categories.list").write_text("art\nbiology\ngeography\n")
    return folder


def ave_folder(folder: Path, *, clips_of_split: Mapping[str, int], classes: int = 28, spatial: bool = False) -> Path:
    """AVE's files, small: features [N, 10, D] (or [N, 10, 2, 2, D]), labels [N, 10, classes + 1], rows of splits."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    count = sum(clips_of_split.values())
    labels = np.zeros((count, 10, classes + 1), np.float64)
    labels[:, :, -1] = 1
    for row in range(count):
        start = draw.integers(0, 8)
        labels[row, start : start + 2, row % 3] = 1
        labels[row, start : start + 2, -1] = 0
    arrays = {
        "audio_feature": draw.normal(size=(count, 10, DIMS[0])),
        "visual_feature": draw.normal(size=(count, 10, *((2, 2) if spatial else ()), DIMS[1])).astype(np.float32),
        "labels": labels,
    }
    rows = draw.permutation(count)
    keys = {"audio_feature": "avadataset", "visual_feature": "avadataset", "labels": "avadataset"}
    for split, number in clips_of_split.items():
        arrays[f"{split}_order"], rows = np.sort(rows[:number]), rows[number:]
    for name, array in arrays.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file[keys.get(name, "order")] = array
    return folder
