"""A folder with a CSV of ids and labels, a line a clip, beside the .npy arrays of the views, whose row i is line i. The
header names the columns: `id`, `label`, and perhaps `split` and `group` (or `video`); what the CSV lacks may be an array
(`labels.npy split.npy groups.npy`). A clip of several labels has them in one cell with `;` between."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from avtune.core.errors import UserError
from avtune.data.arrays import Array
from avtune.data.build import Found, build, held
from avtune.data.dataset import Dataset
from avtune.data.labels import label_rows
from avtune.data.layouts.npy_folder import LABELS, roles_beside, view_stems
from avtune.data.opening import class_names_of, files_of, open_arrays
from avtune.data.options import ReadOptions

TITLE = "CSV of labels beside .npy arrays"
KEYS = ("labels.csv", "audio.npy", "visual.npy")
TAKES = frozenset({"views", "pool", "test_fraction"})
COLUMNS = {
    "lab": ("label", "labels", "lab", "class", "category", "target", "y"),
    "split": ("split", "subset", "set", "partition", "fold"),
    "group": ("group", "video", "video_id", "youtube_id"),
}
"""What a column may be called, by role."""
SEPARATOR = ";"
"""Between the labels of a clip."""
ROLE_WORDS = {"lab": "labels", "split": "split", "group": "groups"}
_MOST_BYTES = 1 << 25
_MOST_LETTERS = 200


def recognise(path: Path) -> bool:
    """Whether it is a folder with one CSV and two .npy arrays. Beside `labels.npy`, a CSV is one of the clips where it
    has a column of ours and a line a clip."""
    if not path.is_dir():
        return False
    files = files_of(path)
    tables = [file for file in files if file.suffix == ".csv"]
    stems = {file.stem for file in files if file.suffix == ".npy"}
    if len(tables) != 1 or len(stems) < 2:
        return False
    return not stems & {*LABELS} or _is_of_clips(tables[0], path)


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of the lines of the CSV and two of the arrays."""
    table = next(file for file in files_of(path) if file.suffix == ".csv")
    columns = read_columns(table)
    with open_arrays(path, ()) as container:
        beside = roles_beside(container)
        _check_once(path, table, columns, beside)
        first, second = view_stems(container, path, options, LABELS)
        roles = {"audio": first, "visual": second, **beside}
        declared = {role: container.declare(key) for role, key in roles.items()}
        if "lab" in columns:
            columns["lab"] = columns["lab"][0], label_lists(columns["lab"][1])
        declared |= {role: held(f"{table}: {name}", columns[role][1]) for role, (name, _) in columns.items()}
        return build(Found(str(path), declared, (first, second), class_names_of(container), container.keys), options)


def _is_of_clips(table: Path, folder: Path) -> bool:
    """Whether a CSV has a column of ours and as many lines as the folder has labels."""
    try:
        header, lines = _lines(table)
        with open_arrays(folder, ()) as container:
            labels = container.declare(roles_beside(container)["lab"])
    except UserError:
        return False  # a CSV of something else, or arrays that their own reader refuses
    return any(name in header for names in COLUMNS.values() for name in names) and len(lines) - 1 == label_rows(
        labels.shape
    )


def _check_once(path: Path, table: Path, columns: Mapping[str, tuple[str, Array]], beside: Mapping[str, str]) -> None:
    """Raises:
    UserError: labels, split or groups are there twice, or labels are not there.
    """
    for role, key in beside.items():
        if role in columns:
            raise UserError(
                f"{path} has {key}.npy, and {table.name} has the column {columns[role][0]}: both say the "
                f"{ROLE_WORDS[role]} of the clips\ntake one of them away, or give it another name"
            )
    if "lab" not in columns and "lab" not in beside:
        raise UserError(f"{table}, line 1: {','.join(_lines(table)[1][0])[:60]!r} names no column label; e.g. id,label")


def read_columns(path: Path) -> dict[str, tuple[str, Array]]:
    """By role, the name and the texts of a column.

    Raises:
        UserError: it is no such CSV; names the line.
    """
    header, lines = _lines(path)
    for number, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise UserError(
                f"{path}, line {number} (empty ones left out) has {len(line)} columns and the header {len(header)}"
            )
        if any(len(part) > _MOST_LETTERS for word in line for part in word.split(SEPARATOR)):
            raise UserError(
                f"{path}, line {number} (empty ones left out) has a text of more than {_MOST_LETTERS} letters"
            )
    places = {
        role: next((header.index(name) for name in names if name in header), None) for role, names in COLUMNS.items()
    }
    return {
        role: (lines[0][place].strip(), np.array([line[place].strip() for line in lines[1:]], object))
        for role, place in places.items()
        if place is not None
    }


def _lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names of the columns in lower case, and all lines.

    Raises:
        UserError: it is no CSV, or has no line of a clip.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} has {path.stat().st_size} bytes; at most {_MOST_BYTES} are read")
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no CSV text ({error}); it has a line a clip, with a header: id,label") from error
    if len(lines) < 2:
        raise UserError(f"{path} has {len(lines)} lines; it has a header, e.g. id,label, and a line a clip")
    return [name.strip().lower() for name in lines[0]], lines


def label_lists(cells: Array) -> Array:
    """Labels of cells as they are; where one holds several, the list of each cell [N], as tuples: of numbers where all
    are whole numbers, else of words."""
    if not any(SEPARATOR in cell for cell in cells):
        return cells
    parts = [[part.strip() for part in cell.split(SEPARATOR) if part.strip()] for cell in cells]
    numbers = all(re.fullmatch(r"[+-]?[0-9]{1,15}", part) for some in parts for part in some)
    made = np.empty(len(parts), object)
    for row, some in enumerate(parts):
        made[row] = tuple(map(int, some)) if numbers else tuple(some)
    return made
