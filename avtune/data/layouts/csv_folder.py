"""A folder with a CSV of ids and labels, a line a clip, beside the .npy arrays of the views, whose row i is line i. The
header names the columns: `id`, `label`, and perhaps `split` and `group` (or `video`); what the CSV lacks may
be an array (`labels.npy split.npy groups.npy`). A clip of several labels has them in one cell with `;` between."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from avtune.core.errors import UserError
from avtune.core.words import plural
from avtune.data.arrays import Array, Container, Declared
from avtune.data.build import Found, build, held
from avtune.data.class_names import some
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
IDS = (
    (("id", "ids", "clip_id", "clip_ids"), ("ids", "id", "clip_ids", "clip_id")),
    (("filename", "filenames", "file", "files"), ("filenames", "filename", "files", "file")),
)
"""What a column and an array may be called that name the clips."""
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
        found = Found(str(path), declared, (first, second), class_names_of(container), _but_ids(container))
        dataset = build(found, options)
        return replace(dataset, remarks=(*dataset.remarks, *_checked_ids(table, container)))


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


def _checked_ids(table: Path, container: Container) -> tuple[str, ...]:
    """Compares the ids of the CSV with those of an array; a sentence on those that are there twice.

    Raises:
        UserError: another number of them, or a line has another id than the row of the arrays.
    """
    header, lines = _lines(table)
    remarks = []
    for columns, arrays in IDS:
        name = next((one for one in columns if one in header), None)
        key = next((one for one in arrays if one in container.keys), None)
        if name is None:
            continue
        of_lines = [line[header.index(name)].strip() for line in lines[1:]]
        if key is not None:
            _check_equal(table, lines[0][header.index(name)].strip(), of_lines, container.declare(key))
        twice = [one for one, count in Counter(of_lines).items() if count > 1]
        if twice:
            shown = some([repr(one[:40]) for one in twice])
            remarks.append(f"{table.name} has more than one line of the {name} {shown}")
    return tuple(remarks)


def _but_ids(container: Container) -> list[str]:
    return [key for key in container.keys if not any(key in arrays for _, arrays in IDS)]


def _check_equal(table: Path, name: str, of_lines: Sequence[str], declared: Declared) -> None:
    """Raises:
    UserError: see `_checked_ids`.
    """
    array = declared.read().reshape(-1)
    of_rows = [(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one)).strip() for one in array]
    if len(of_rows) != len(of_lines):
        raise UserError(
            f"{table} has {plural(len(of_lines), 'clip')} and {declared.where} {plural(len(of_rows), 'value')}; line i "
            "and row i must be the same clip"
        )
    row = next((row for row, (one, line) in enumerate(zip(of_rows, of_lines, strict=True)) if one != line), None)
    if row is not None:
        same = ", the same ids in another order" if sorted(of_rows) == sorted(of_lines) else ""
        raise UserError(
            f"{table} has the {name} {of_lines[row][:40]!r} in row {row}, counted from 0, and {declared.where} has "
            f"{of_rows[row][:40]!r}{same}\nwrite the lines of the CSV in the order of the arrays"
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
    numbers = all(re.fullmatch(r"[+-]?[0-9]{1,15}", part) for words in parts for part in words)
    made = np.empty(len(parts), object)
    for row, words in enumerate(parts):
        made[row] = tuple(map(int, words)) if numbers else tuple(words)
    return made
