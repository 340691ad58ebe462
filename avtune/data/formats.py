"""From a path to a dataset: finds out which layout is there and reads it. docs/data.md lists the layouts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

from avtune.core.errors import UserError, choices
from avtune.data.dataset import Dataset
from avtune.data.layouts import (
    all_clips,
    ave_folder,
    cell_views,
    csv_folder,
    four_keys,
    image_text,
    imgs_deep,
    mapped,
    npy_folder,
    six_keys,
    table,
    wikipedia,
    youtube8m,
)
from avtune.data.layouts._base import Layout
from avtune.data.layouts.hdf5_write import write_hdf5
from avtune.data.layouts.youtube8m import read_youtube8m
from avtune.data.opening import head_of
from avtune.data.options import ReadOptions, options_of
from avtune.data.unknown import unknown

__all__ = ["read", "read_youtube8m", "write_hdf5"]

LAYOUTS = cast(
    tuple[Layout, ...],
    (
        six_keys,
        four_keys,
        youtube8m,
        image_text,
        imgs_deep,
        wikipedia,
        ave_folder,
        cell_views,
        csv_folder,
        npy_folder,
        table,
        all_clips,
        mapped,
    ),
)
"""Every layout, in the order in which they are tried; the last one only where `--map` is given."""


def read(path: str | Path, options: ReadOptions | None = None, *, name: str | None = None) -> Dataset:
    """The dataset at `path`, a file or a folder.

    Args:
        options: what the user says of it.
        name: the dataset's name; the stem of the file when None.

    Raises:
        UserError: there is no such file, it cannot be read, it has no layout that is known, the dataset is unusable, or
            an option does not go with it; names the file and the array.
    """
    path = Path(os.path.expanduser(path))
    options = (options or options_of()).named(name or (path.resolve().name if os.path.isdir(path) else path.stem))
    layout = layout_of(path, options)
    _check_taken(path, layout, options)
    return replace(layout.read(path, options), place=str(path.resolve()))


def layout_of(path: Path, options: ReadOptions) -> Layout:
    """The layout of what lies at a path.

    Raises:
        UserError: none is recognised; says what is there and what to try.
    """
    if not os.path.isdir(path):
        head_of(path)
    for layout in LAYOUTS:
        if options.map and "map" not in layout.TAKES:
            continue
        if (layout is not LAYOUTS[-1] or options.map) and layout.recognise(path):
            return layout
    raise UserError(unknown(path, LAYOUTS))


def _check_taken(path: Path, layout: Layout, options: ReadOptions) -> None:
    """Raises:
    UserError: an option does not go with the layout.
    """
    for what in options.given():
        if what not in layout.TAKES:
            takers = [one.TITLE for one in LAYOUTS if what in one.TAKES]
            raise UserError(
                f"{path} is of the layout {layout.TITLE}, which takes no --{what.replace('_', '-')}; it goes with "
                f"{choices(takers)}"
            )
