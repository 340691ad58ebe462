"""Multi-view sets in MATLAB: features of several views in a cell array `X` or `data`, [N, D] each or [D, N], and labels
`Y`, or `truelabel`, a cell array that repeats them for each view (Caltech101-7, Scene-15, Handwritten, ...). Two views
are chosen with `--views 0,1`, counted from 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avtune.core.errors import UserError
from avtune.data.arrays import Container, Declared
from avtune.data.build import Found, build, transposed
from avtune.data.dataset import Dataset
from avtune.data.labels import label_rows
from avtune.data.layouts.paired import check_same
from avtune.data.opening import class_names_of, keys_of, open_arrays
from avtune.data.options import ReadOptions

TITLE = "cell array of views"
KEYS = ("X", "Y")
TAKES = frozenset({"views", "pool", "test_fraction"})
_LABELS = ("Y", "y", "gt", "gnd", "truth", "truelabel", "label", "labels")
_VIEWS = ("X", "fea", "data")
_SHOWN = 10


def recognise(path: Path) -> bool:
    """Whether it is a MATLAB file with a cell array of matrices and labels."""
    if path.is_dir():
        return False
    keys = keys_of(path)
    if not any(key in keys for key in _VIEWS) or not any(key in keys for key in _LABELS):
        return False
    with open_arrays(path, KEYS) as container:
        return bool(_cells(container))


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of two of the views."""
    with open_arrays(path, KEYS) as container:
        cells = _cells(container)
        labels = _labels(container)
        first, second = _chosen(path, cells, options)
        rows = label_rows(labels.shape)
        declared = {"audio": _upright(cells[first], rows), "visual": _upright(cells[second], rows), "lab": labels}
        for what, role in {"split": "split", "groups": "group", "group": "group"}.items():
            if what in container.keys:
                declared[role] = container.declare(what)
        names = class_names_of(container) or container.listed()
        return build(Found(str(path), declared, (f"view{first}", f"view{second}"), names, container.keys), options)


def _cells(container: Container) -> list[Declared]:
    if container.cells is None:
        return []
    try:
        return container.cells(next(key for key in _VIEWS if key in container.keys))
    except UserError as error:
        if "a cell array is expected" in str(error):
            return []  # a plain matrix
        raise


def _labels(container: Container) -> Declared:
    """The labels, or those of the first view where a cell array has them once for each.

    Raises:
        UserError: those of another view differ.
    """
    key = next(key for key in _LABELS if key in container.keys)
    try:
        return container.declare(key)
    except UserError as error:
        if container.cells is None or "is a cell array of matrices" not in str(error):
            raise
    first, *others = container.cells(key)
    for other in others:
        check_same(first, other)
    return first


def _chosen(path: Path, cells: Sequence[Declared], options: ReadOptions) -> tuple[int, int]:
    """The two views, by place.

    Raises:
        UserError: there are more than two and none are chosen, or one is not there.
    """
    count = len(cells)
    if count < 2:
        raise UserError(f"{path} has {count} view; two are needed")
    if not options.views:
        if count > 2:
            shapes = ", ".join(f"{place}: {'x'.join(map(str, one.shape))}" for place, one in enumerate(cells[:_SHOWN]))
            more = ", ..." if count > _SHOWN else ""
            raise UserError(
                f"{path} has {count} views; choose two of them, counted from 0: --views 0,1\nthey are {shapes}{more}"
            )
        return 0, 1
    for view in options.views:
        if not (view.isascii() and view.isdigit() and int(view) < count):
            raise UserError(f"{path} has views 0 to {count - 1}, and --views names {view!r}; e.g. --views 0,1")
    return int(options.views[0]), int(options.views[1])


def _upright(declared: Declared, rows: int) -> Declared:
    """Features [N, D], turned where they are [D, N]."""
    shape = declared.shape
    turned = len(shape) == 2 and shape[0] != rows == shape[1] and 0 not in shape
    return transposed(declared) if turned else declared
