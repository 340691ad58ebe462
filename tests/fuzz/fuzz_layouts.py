"""Damaged files and folders in the layouts of labs: MATLAB 5 and 7.3, image-text, Wikipedia, AVE, cell arrays, folders
of arrays, with a CSV, Parquet and Arrow, and any file with `--map`."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import scipy.io
import scipy.sparse
from fuzz_mutate import damaged, damaged_lines
from lab_files import ave_folder, cell, clips, dscmr, dscmr_folder, imgs_deep, save_mat73, wikipedia_folder

_PLACES = ("a_train", "b_train", "y_train")


def layout_files(draw, folder):
    """A file or folder, the options that go with it, and what was done to it."""
    name = draw.choice(list(LAYOUTS))
    path, words = LAYOUTS[name](folder, clips(24, 9, seed=draw.randrange(1 << 20)), draw)
    done = _damage(path, draw)
    if draw.random() < 0.15:
        odd = draw.choice(
            (["--pool", "mean"], ["--views", "0,9"], ["--views", "a,b"], ["--test-fraction", "0.9"], ["--map", "a=b"])
        )
        words, done = [*words, *odd], f"{done}, {odd[0]}"
    return path, words, f"{name}: {done}"


def _damage(path, draw):
    """Bytes of a file, a file that is gone or another one, or lines of a text."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    file = draw.choice(files)
    kind = draw.randrange(6) if path.is_dir() else 5
    if kind == 0:
        file.unlink()
    elif kind == 1:
        file.write_bytes(draw.choice(files).read_bytes())
    elif kind == 2:
        file.rename(file.with_name(draw.choice(("x", "\x1b[31m.npy", "labels.npy", "train_img.mat", "y" * 200))))
    elif file.suffix in (".csv", ".list"):
        file.write_text(damaged_lines(file.read_text(), draw))
    else:
        file.write_bytes(damaged(file.read_bytes(), draw))
    return ("gone", "another", "renamed", *("damaged",) * 3)[kind] + f" {file.suffix}"


def _spoiled(array, draw):
    """An array of another dtype or shape, or with a value that is none; mostly as it is."""
    array = np.asarray(array)
    kind = draw.randrange(50)
    if kind == 0:
        return array.astype(draw.choice(("f2", "f8", "i1", "u1", "?")))
    if kind == 1 and array.dtype.kind == "f":
        array = array.copy()
        array.reshape(-1)[draw.randrange(array.size)] = draw.choice((np.nan, np.inf, 1e30))
    elif kind == 2:
        return array[: draw.randrange(len(array) + 1)]
    elif kind == 3:
        return array.T
    elif kind == 4:
        return array[..., None]
    return array


def _both(made, draw):
    arrays = {**dscmr(made, "train"), **dscmr(made, "test")}
    if draw.random() < 0.3:
        for split in ("train", "test"):
            labels = np.eye(3)[made[f"y_{split}"]]
            if draw.random() < 0.5:  # several a clip
                labels[: draw.randrange(len(labels)), draw.randrange(3)] = draw.choice((1, 1, 1, 2))
            arrays[f"{split}_img_lab"] = arrays[f"{split}_txt_lab"] = labels
    return {key: _spoiled(value, draw) for key, value in arrays.items()}


def _mat5(folder, made, draw):
    scipy.io.savemat(folder / "a.mat", _both(made, draw), do_compression=draw.random() < 0.5)
    return folder / "a.mat", []


def _mat73(folder, made, draw):
    save_mat73(folder / "a.mat", _both(made, draw))
    return folder / "a.mat", []


def _dscmr(folder, made, draw):
    return dscmr_folder(folder / "pascal", made), []


def _cells(folder, made, draw):
    views = [_spoiled(made[one], draw) for one in ("a_train", "b_train", "a_train")]
    labels = _spoiled(made["y_train"][:, None] + 1, draw)
    of_each = draw.random() < 0.3  # labels once for each view
    if draw.random() < 0.4:
        views = [scipy.sparse.csc_matrix(one) if one.ndim == 2 else one for one in views]
    if draw.random() < 0.5:
        arrays = {"data": cell(views), "truelabel": cell([labels] * 3)} if of_each else {"X": cell(views), "Y": labels}
        scipy.io.savemat(folder / "a.mat", arrays, do_compression=draw.random() < 0.5)
    else:
        arrays = {"data": views, "truelabel": [labels] * 3} if of_each else {"X": views, "Y": labels}
        save_mat73(folder / "a.mat", arrays)
    return folder / "a.mat", ["--views", "0,1", "--test-fraction", "0.3"]


def _struct(folder, made, draw):
    inside = {"X1": _spoiled(made["a_train"], draw).T, "X2": scipy.sparse.csc_matrix(made["b_train"]).T}
    inside["Y"] = _spoiled(made["y_train"][:, None] + 1, draw)
    scipy.io.savemat(folder / "a.mat", {"data": inside}, do_compression=draw.random() < 0.5)
    if draw.random() < 0.3:
        return folder / "a.mat", []
    keys = "image=data/X1.T,text=data/X2.T,labels=data/Y"
    return folder / "a.mat", ["--map", keys, "--test-fraction", "0.3"]


def _deep(folder, made, draw):
    return imgs_deep(folder / "a.h5", {**made, **{f"{key}_val": made[f"{key}_test"] for key in "aby"}}), []


def _wikipedia(folder, made, draw):
    return wikipedia_folder(folder / "wikipedia", made), []


def _ave(folder, made, draw):
    sizes = {"train": 18, "val": 6, "test": 6}
    return ave_folder(folder / "AVE", clips_of_split=sizes, spatial=draw.random() < 0.5), ["--pool", "mean,std"]


def _npy(folder, made, draw):
    (folder / "npy").mkdir()
    arrays = dict(zip(("audio", "visual", "labels"), (_spoiled(made[one], draw) for one in _PLACES), strict=True))
    words = ["--test-fraction", "0.3"]
    if draw.random() < 0.5:
        arrays["split"], words = np.repeat(["train", "val", "test"], [12, 6, 6]), []
    if draw.random() < 0.3:
        arrays["groups"] = np.arange(24) // 2
    for name, array in arrays.items():
        np.save(folder / "npy" / f"{name}.npy", array, allow_pickle=False)
    return folder / "npy", words


def _csv(folder, made, draw):
    (folder / "csv").mkdir()
    for name, place in (("image", "a_train"), ("text", "b_train")):
        np.save(folder / "csv" / f"{name}.npy", made[place], allow_pickle=False)
    marks = ["train"] * 18 + ["test"] * 6
    lines = [f"id{row},{'abc'[label]},{marks[row]}" for row, label in enumerate(made["y_train"])]
    (folder / "csv/clips.csv").write_text("\n".join(["id,label,split", *lines]) + "\n")
    return folder / "csv", []


def _table(folder, made, draw):
    columns = {"image": list(made["a_train"]), "text": list(made["b_train"]), "label": made["y_train"]}
    if draw.random() < 0.3:
        columns["image"][draw.randrange(24)] = draw.choice((None, [], [1.0], [float("nan")] * 10))
    if draw.random() < 0.4:
        columns["label"] = [[int(one), int(one + row) % 3][: 1 + row % 2] for row, one in enumerate(made["y_train"])]
        if draw.random() < 0.3:
            columns["label"][draw.randrange(24)] = draw.choice((None, [], [None], [7], [0] * 9, [-(2**60)]))
        if draw.random() < 0.3:
            columns["label"] = [[str(one) for one in row or [1]] for row in columns["label"]]
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    if draw.random() < 0.6:
        path = folder / "a.parquet"
        pq.write_table(table, path, compression=draw.choice(("none", "snappy", "gzip", "zstd")), row_group_size=10)
    else:
        path = folder / "a.arrow"
        pyarrow.feather.write_feather(table, path, compression=draw.choice(("uncompressed", "lz4", "zstd")))
    return path, ["--test-fraction", "0.3"]


def _mapped(folder, made, draw):
    with h5py.File(folder / "a.h5", "w") as file:
        for place in _PLACES:
            file[f"group/{place}"] = _spoiled(made[place], draw)
    if draw.random() < 0.3:
        return folder / "a.h5", []
    keys = draw.choice((*["group/a_train"] * 8, "group/a_train.T", "group/x", "group", "..", "a_train{1}"))
    text = f"image={keys},text=group/b_train,labels=group/y_train"
    return folder / "a.h5", ["--map", text, "--test-fraction", "0.3"]


LAYOUTS = {
    "MATLAB 5": _mat5,
    "MATLAB 7.3": _mat73,
    "image-text folder": _dscmr,
    "cell array": _cells,
    "struct": _struct,
    "deep features": _deep,
    "Wikipedia": _wikipedia,
    "AVE": _ave,
    "npy folder": _npy,
    "CSV": _csv,
    "table": _table,
    "--map": _mapped,
}
