"""Feature files that others have published, as they are: none is kept here. `AVTUNE_PUBLIC_FILES` names a folder of
clones of the repositories that hold them, `OWNER/REPOSITORY`; what is not there is skipped. What is read is compared
with what scipy, h5py and NumPy read, without a layout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from avtune.core.errors import UserError
from avtune.data import Dataset, read
from avtune.data.options import options_of

ZSKONG, WXHFY = "zskong/Multi-view-data", "wxhfy/Multi-view"
LARGE = f"{ZSKONG}/Algorithm/large-scale"
Views = tuple[Any, Any]


class Case(NamedTuple):
    """A file, the options that it is read with, what `views_of` reads of it otherwise, and what comes out: training
    and test clips, classes, dims of both views."""

    path: str
    options: dict[str, Any]
    views_of: Callable[[Path], Views]
    sizes: tuple[int, int, int, int, int]


def cells(key: str, first: int = 0, second: int = 1, *, turned: bool = False) -> Callable[[Path], Views]:
    def views(path: Path) -> Views:
        found = [_full(scipy.io.loadmat(path)[key].reshape(-1)[place]) for place in (first, second)]
        return (found[0].T, found[1].T) if turned else (found[0], found[1])

    return views


def cells73(key: str) -> Callable[[Path], Views]:
    def views(path: Path) -> Views:
        with h5py.File(path) as file:
            references = file[key][()].reshape(-1)
            return file[references[0]][()].T, file[references[1]][()].T

    return views


def struct(path: Path) -> Views:
    inside = scipy.io.loadmat(path)["data"][0, 0]
    return inside["X1"].T, inside["X2"].T


def matrices(first: str, second: str, *, turned: bool = False) -> Callable[[Path], Views]:
    def views(path: Path) -> Views:
        file = scipy.io.loadmat(path)
        return (file[first].T, file[second].T) if turned else (file[first], file[second])

    return views


def wikipedia(folder: Path) -> Views:
    file = scipy.io.loadmat(folder / "raw_features.mat")
    return tuple(np.concatenate([file[f"{view}_tr"], file[f"{view}_te"]]) for view in "IT")


def _full(array: Any) -> Any:
    return array.toarray() if scipy.sparse.issparse(array) else array


TWO = {"test_fraction": 0.2}
SOME = {"views": "0,1", **TWO}
CASES = [
    Case("TongJiayan/Multimodal-Retrieve/data/wiki", {}, wikipedia, (2173, 693, 10, 128, 10)),
    Case(f"{ZSKONG}/data/100Leaves.mat", SOME, cells("X"), (1280, 320, 100, 64, 64)),
    Case(f"{ZSKONG}/data/BBC.mat", SOME, cells("X"), (548, 137, 5, 4659, 4633)),
    Case(f"{ZSKONG}/data/CiteSeer.mat", TWO, cells("X"), (2649, 663, 6, 3312, 3703)),
    Case(f"{ZSKONG}/data/3-sources.mat", {**SOME, "views": "0,2"}, cells("X", 0, 2), (135, 34, 6, 3560, 3068)),
    Case(f"{ZSKONG}/data/handwritten.mat", {**SOME, "views": "1,5"}, cells("X", 1, 5), (1600, 400, 10, 76, 6)),
    Case("jiajunsi/RCML/data/scene15_mtv.mat", SOME, cells("X", turned=True), (3588, 897, 15, 20, 59)),
    Case(f"{WXHFY}/data/BBCSport.mat", TWO, cells73("X"), (435, 109, 5, 3183, 3203)),
    Case(f"{WXHFY}/data/Wiki.mat", TWO, cells("data", turned=True), (2293, 573, 10, 128, 10)),
    Case(f"{WXHFY}/data/Mfeat.mat", TWO, cells("data", turned=True), (8000, 2000, 10, 784, 256)),
    Case(
        f"{LARGE}/7.LMVSC(20AAAI)/LMVSC-master/LMVSC-master/Handwritten_numerals.mat",
        SOME,
        cells73("data"),
        (1600, 400, 10, 216, 76),
    ),
    Case(
        "kding1225/RoPH/data/wiki.mat",
        {"map": "image=data/X1.T,text=data/X2.T,labels=data/Y.T", **TWO},
        struct,
        (2293, 573, 10, 128, 100),
    ),
    Case(
        f"{LARGE}/13.FESRL(22SPL)/FESRL-main/Datasets/my_UCI.mat",
        {"map": "x1=X1.T,x2=X2.T,labels=gt", **TWO},
        matrices("X1", "X2", turned=True),
        (1600, 400, 10, 240, 76),
    ),
    Case(
        f"{WXHFY}/data/MSRC_v1.mat",
        {"map": "msr1=msr1,msr2=msr2,labels=truth", **TWO},
        matrices("msr1", "msr2"),
        (168, 42, 7, 24, 576),
    ),
    Case(
        "Xiaoqiang-Yan/TIB/data",
        {"views": "audio,text", **TWO},
        lambda folder: (np.load(folder / "audio.npy"), np.load(folder / "text.npy")),
        (1027, 257, 7, 60, 60),
    ),
    Case(
        "DanielTrosten/mvc/data/processed/blobs_overlap.npz",
        {"map": "view_0=view_0,view_1=view_1,labels=labels", **TWO},
        lambda path: (np.load(path)["view_0"], np.load(path)["view_1"]),
        (2400, 600, 3, 2, 2),
    ),
]


def published(path: str) -> Path:
    folder = os.environ.get("AVTUNE_PUBLIC_FILES")
    if not folder:
        pytest.skip("published files: AVTUNE_PUBLIC_FILES names no folder of them")
    if not (Path(folder) / path).exists():
        pytest.skip(f"published files: no {path} in $AVTUNE_PUBLIC_FILES")
    return Path(folder) / path


def sums(rows: Any) -> Any:
    """Of each row, in their order of size: the same however the rows lie."""
    return np.sort(np.asarray(rows, np.float32).sum(axis=1, dtype=np.float64))


def sizes(dataset: Dataset) -> tuple[int, int, int, int, int]:
    counts = len(dataset.train), len(dataset.test), dataset.num_classes
    return *counts, dataset.audio_dim, dataset.visual_dim


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path.replace("/", " "))
def test_a_published_file_is_read_as_it_is(case: Case) -> None:
    path = published(case.path)
    dataset = read(path, options_of(**case.options))
    assert sizes(dataset) == case.sizes
    for view, given in zip(("audio", "visual"), case.views_of(path), strict=True):
        rows = np.concatenate([getattr(dataset.train, view), getattr(dataset.test, view)])
        np.testing.assert_allclose(sums(rows), sums(given), rtol=1e-6, atol=1e-9)


def test_what_is_proposed_for_a_published_file_reads_it() -> None:
    for case in CASES:
        if "map" in case.options and "image" not in case.options["map"]:
            with pytest.raises(UserError) as caught:
                read(published(case.path))
            assert f"--map {case.options['map']} --test-fraction 0.2" in str(caught.value)


def test_one_data_set_in_two_layouts_has_one_digest() -> None:
    by_map, as_cells = CASES[12], published(f"{WXHFY}/data/UCI_Digits.mat")
    one = read(published(by_map.path), options_of(**by_map.options))
    assert one.digest == read(as_cells, options_of(views="0,1", test_fraction=0.2)).digest


def test_lists_of_places_and_values_are_no_features() -> None:
    with pytest.raises(UserError, match=r"X\{1\} has 48686 rows and Y has 600 labels"):
        read(published(f"{ZSKONG}/data/reuters.mat"), options_of(**SOME))
