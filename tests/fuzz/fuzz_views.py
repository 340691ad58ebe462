"""Damaged files of features for a model that is used: npy, npz and HDF5 with one view or two."""

import numpy as np
from fuzz_datasets import spoiled_arrays, write_hdf5, write_npz
from fuzz_mutate import damaged

DIMS = {"audio": 10, "visual": 7}  # those of the base's model


def views_file(draw, folder):
    """A file, the options that name its views, and what was done to it."""
    suffix = draw.choice((".npy", ".npz", ".h5"))
    path, rows = folder / f"views{suffix}", draw.randint(1, 20)
    values = np.random.default_rng(draw.randrange(1 << 30))
    arrays = {view: values.normal(size=(rows, dim)).astype(np.float32) for view, dim in DIMS.items()}
    done, words = [], []
    if draw.random() < 0.5:
        arrays = {f"{view}_{draw.choice(('feat', 'test', 'train'))}": rows for view, rows in arrays.items()}
    if draw.random() < 0.3:
        arrays["labels"] = np.arange(rows)
    if draw.random() < 0.5:
        arrays = spoiled_arrays(arrays, draw)
        done.append("arrays")
    if suffix == ".npy":
        one = np.asarray(next(iter(arrays.values()), np.zeros(3)))
        np.save(path, one, allow_pickle=True)
        words = ["--view", draw.choice(tuple(DIMS))]
    else:
        (write_npz if suffix == ".npz" else write_hdf5)(path, arrays, draw)
        words = draw.choice(([], [], ["--view", "audio"], ["--split", "test"], ["--map", _map(arrays, draw)]))
    if not done or draw.random() < 0.3:
        path.write_bytes(damaged(path.read_bytes(), draw))
        done.append("bytes")
    return path, words, " and ".join(done)


def _map(arrays, draw):
    keys = [*arrays, "a/b", "..", "/", "audio/../visual", "x"]
    return ",".join(f"{what}={draw.choice(keys)}" for what in draw.sample(("audio", "visual", "labels"), 2))
