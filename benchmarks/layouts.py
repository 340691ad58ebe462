"""Claim: every format of features is read in memory that does not grow with the file, where features stay on disk.

    python -m benchmarks.layouts

The same generated clips are written in each format, one after the other, and read by a process of its own whose code is
told that everything is too large for the memory. Looked at is what that process has of its own (`RssAnon`), over what
it had before; the pages of mapped files are the system's.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import scipy.io

from avtune.data.layouts.tfrecord import masked_crc32c
from avtune.data.options import options_of
from benchmarks import _report
from benchmarks.larger_than_memory import CLASSES, DIMS, resident

Arrays = dict[str, Any]
_LOOK_SECONDS = 0.01
_TEST = 0.1


def main() -> None:
    parser = _report.arguments("layouts", __doc__)
    parser.add_argument("--clips", type=int, action="append", help="of each file (25000, then 100000)")
    parser.add_argument("--only", action="append", choices=list(_WRITERS), help="formats (all)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _read(*given.child)
        return
    sizes = [2_000] if given.quick else given.clips or [25_000, 100_000]
    sections = [_section(clips, given.only or list(_WRITERS)) for clips in sizes]
    print("\n\n".join(sections))
    packages = ["numpy", "h5py", "scipy", "pyarrow"]
    print(_report.write("layouts", "Reading features that stay on disk", sections, packages, given.out))


def _section(clips: int, formats: list[str]) -> str:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        arrays = _generated(clips)
        for name in formats:
            rows.append([name, *_measured(name, arrays, Path(scratch) / name.replace(" ", "-").replace(",", ""))])
    features = sum(arrays[f"{view}_{split}"].nbytes for view in DIMS for split in ("train", "test"))
    about = (
        f"{clips:,} clips of {' + '.join(map(str, DIMS.values()))} float32 features, {features / 1e6:.0f} MB. "
        "Own: the most that the reading process had of its own, over what it had before."
    )
    head = ["format", "file, MB", "own, MB at most", "seconds", "on disk"]
    return f"## Reading {clips:,} clips\n\n{about}\n\n{_report.table(head, rows)}"


def _generated(clips: int) -> Arrays:
    rng = np.random.default_rng(0)
    made: Arrays = {}
    for split, count in (("train", clips - int(_TEST * clips)), ("test", int(_TEST * clips))):
        made[f"lab_{split}"] = np.arange(count) % CLASSES
        for view, width in DIMS.items():
            made[f"{view}_{split}"] = rng.standard_normal((count, width), np.float32)
    return made


def _measured(name: str, arrays: Arrays, path: Path) -> list[str]:
    """The row of a format: it is written, read by a process, and removed."""
    _WRITERS[name](path, arrays)
    files = [path] if path.is_file() else list(path.iterdir())
    stored = sum(file.stat().st_size for file in files)
    options = {"views": "0,1", "test_fraction": _TEST} if name.startswith("MATLAB cells") else {}
    command = [sys.executable, "-m", "benchmarks.layouts", "--child", str(path), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for file in files:
        file.unlink()
    return [f"{stored / 1e6:.0f}", f"{found['own'] / 1e6:.0f}", f"{found['seconds']:.1f}", found["on_disk"]]


def _read(path: str, options: str) -> None:
    """In a process of its own."""
    from avtune.data import on_disk, read

    on_disk.SMALL, on_disk.available_memory = 0, lambda: 1
    before, *_ = resident("self")
    peak, ended = [before], threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            peak[0] = max(peak[0], resident("self")[0])

    looks = threading.Thread(target=look)
    looks.start()
    start = time.perf_counter()
    dataset = read(path, options_of(**json.loads(options)))
    seconds = time.perf_counter() - start
    ended.set()
    looks.join()
    views = [view for split in (dataset.train, dataset.test) for view in (split.audio, split.visual)]
    stays = "yes" if all(on_disk.is_on_disk(view) for view in views) else "NO"
    print(json.dumps({"own": peak[0] - before, "seconds": seconds, "on_disk": stays}))


# -- files, as those who publish features write them -------------------------------------------------------------------


def _hdf5(path: Path, arrays: Arrays, **how: Any) -> None:
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file.create_dataset(key, data=value, **(how if value.ndim > 1 else {}))


def _mat73(path: Path, arrays: Arrays) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in arrays.items():
            turned = np.atleast_2d(value).T if value.ndim > 1 else value[None]
            chunks = (min(16, len(turned)), min(4096, turned.shape[1]))
            file.create_dataset(key, data=turned, chunks=chunks, compression="gzip", compression_opts=3)
    with path.open("r+b") as head:
        head.write(b"MATLAB 7.3 MAT-file".ljust(128))


def _mat5(path: Path, arrays: Arrays, **how: Any) -> None:
    scipy.io.savemat(path, {key: value if value.ndim > 1 else value[:, None] for key, value in arrays.items()}, **how)


def _cells(path: Path, arrays: Arrays) -> None:
    cells = np.empty((1, len(DIMS)), object)
    for place, view in enumerate(DIMS):
        cells[0, place] = np.concatenate([arrays[f"{view}_train"], arrays[f"{view}_test"]]).T
    labels = np.concatenate([arrays["lab_train"], arrays["lab_test"]])[:, None]
    scipy.io.savemat(path, {"X": cells, "Y": labels}, do_compression=True)


def _npz(save: Callable[..., None], path: Path, arrays: Arrays) -> None:
    with path.open("wb") as file:
        save(file, **arrays)


def _folder(path: Path, arrays: Arrays) -> None:
    path.mkdir()
    for key, value in arrays.items():
        np.save(path / f"{key}.npy", value)


def _table(arrays: Arrays) -> pa.Table:
    parts = []
    for split in ("train", "test"):
        columns = {
            view: pa.FixedSizeListArray.from_arrays(pa.array(arrays[f"{view}_{split}"].reshape(-1)), width)
            for view, width in DIMS.items()
        }
        labels = arrays[f"lab_{split}"]
        parts.append(pa.table({**columns, "label": labels, "split": [split] * len(labels)}))
    return pa.concat_tables(parts)


def _parquet(path: Path, arrays: Arrays) -> None:
    pq.write_table(_table(arrays).combine_chunks(), path, row_group_size=1 << 20)


def _arrow(path: Path, arrays: Arrays) -> None:
    pyarrow.feather.write_feather(_table(arrays), path, compression="lz4")


def _shards(path: Path, arrays: Arrays) -> None:
    path.mkdir()
    (path / "classes.csv").write_text("".join(f"class{label},{label}\n" for label in range(CLASSES)))
    with (path / "train00.tfrecord").open("wb") as file:
        for record in _records(arrays):
            head = struct.pack("<Q", len(record))
            file.write(head + struct.pack("<I", masked_crc32c(head)))
            file.write(record + struct.pack("<I", masked_crc32c(record)))


def _records(arrays: Arrays) -> Iterator[bytes]:
    from avtune.data.layouts.tfrecord import _example_class

    number = 0
    for split in ("train", "test"):
        rows = zip(*(arrays[f"{key}_{split}"] for key in ("audio", "visual", "lab")), strict=True)
        for audio, visual, label in rows:
            example = _example_class()()
            feature = example.features.feature
            feature["id"].bytes_list.value.append(f"{number:08d}".encode())
            feature["labels"].int64_list.value.append(int(label))
            feature["mean_audio"].float_list.value.extend(audio.tolist())
            feature["mean_rgb"].float_list.value.extend(visual.tolist())
            yield example.SerializeToString()
            number += 1


_WRITERS: dict[str, Callable[[Path, Arrays], None]] = {
    "HDF5": _hdf5,
    "HDF5, chunks and gzip": lambda path, arrays: _hdf5(path, arrays, chunks=(128, 64), compression="gzip"),
    "MATLAB 7.3, gzip": _mat73,
    "MATLAB 5": _mat5,
    "MATLAB 5, compressed": lambda path, arrays: _mat5(path, arrays, do_compression=True),
    "MATLAB cells, compressed": _cells,
    "npz": lambda path, arrays: _npz(np.savez, path, arrays),
    "npz, compressed": lambda path, arrays: _npz(np.savez_compressed, path, arrays),
    "npy folder": _folder,
    "Parquet, one row group": _parquet,
    "Arrow, lz4": _arrow,
    "YouTube-8M shards": _shards,
}

if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    main()
