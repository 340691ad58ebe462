"""Parquet and Arrow (Feather) tables with a list column a view, a label column (of labels, of lists of labels, or of
lists of 0 and 1 for each class), and perhaps columns of splits and groups; or a folder of Parquet files whose names
begin with `train`, `test` and perhaps `val`. `--map audio=COLUMN,...` names columns that have other names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from avtune.core.errors import UserError, did_you_mean
from avtune.core.system import available_memory, size
from avtune.core.words import plural
from avtune.data.arrays import Array, Declared, cause, printable
from avtune.data.build import Found, build, held
from avtune.data.dataset import VIEWS, Dataset
from avtune.data.labels import is_lists
from avtune.data.layouts.csv_folder import COLUMNS
from avtune.data.layouts.mapped import roles_of
from avtune.data.on_disk import MOST_PACKED, SMALL
from avtune.data.opening import files_of, head_of
from avtune.data.options import ReadOptions

TITLE = "Parquet or Arrow table"
KEYS = ("audio", "visual", "label")
TAKES = frozenset({"views", "map", "test_fraction"})
_BATCH = 1024
_BUFFER = 1 << 20  # without one, all of a column of a row group is read at once, which is often the whole file
_SPLITS = {"train": "train", "val": "val", "dev": "val", "test": "test"}
_PARQUET, _ARROW = b"PAR1", b"ARROW1"


def recognise(path: Path) -> bool:
    """Whether it is such a table, or a folder of tables of splits."""
    if path.is_dir():
        return {"train", "test"} <= set(_by_split(path))
    return head_of(path).startswith((_PARQUET, _ARROW))


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of the columns of a table, or of the tables of the splits."""
    parts = _by_split(path) if path.is_dir() else {"": [path]}
    arrays: dict[str, Declared] = {}
    views: tuple[str, str] = VIEWS
    for split, files in parts.items():
        roles, views = _columns(files[0], options)
        others = [column for role, column in roles.items() if role not in ("audio", "visual")]
        read_columns = [_read(file, others, roles["lab"]) for file in files]
        counts = [len(one[roles["lab"]]) for one in read_columns]
        for role, column in roles.items():
            where, named = f"{path if split else files[0]}: {column}", f"{role}_{split}" if split else role
            if column in others:
                arrays[named] = held(where, np.concatenate([one[column] for one in read_columns]))
            else:
                arrays[named] = _features(files, counts, column, where)
    labels = {role: one for role, one in arrays.items() if role.startswith("lab")}
    if columns := _columns_of([one.read() for one in labels.values()]):
        arrays |= {role: held(one.where, made) for (role, one), made in zip(labels.items(), columns, strict=True)}
    return build(Found(str(path), arrays, views), options)


def _by_split(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in files_of(folder):
        split = next((name for start, name in _SPLITS.items() if file.name.lower().startswith(start)), None)
        if file.suffix == ".parquet" and split:
            found.setdefault(split, []).append(file)
    return found


def _columns(path: Path, options: ReadOptions) -> tuple[dict[str, str], tuple[str, str]]:
    """The columns by role, and the names of the views.

    Raises:
        UserError: they cannot be told, or one that is named is not there.
    """
    with _reading(path) as table:
        types = {printable(field.name): field.type for field in getattr(table, "schema_arrow", None) or table.schema}
    if options.map:
        roles, views = roles_of(options.map, options.views)
        for column in roles.values():
            if column not in types:
                raise UserError(f"{path} has no column {column!r}{did_you_mean(column, types)}; it has {_some(types)}")
        return roles, views
    lower = {name.lower(): name for name in types}
    label = next((lower[name] for name in COLUMNS["lab"] if name in lower), None)
    features = [name for name, kind in types.items() if _is_list(kind) and name != label]
    first, second = _two(path, features, types, options)
    roles = {"audio": first, "visual": second}
    for role, names in COLUMNS.items():
        there = next((lower[name] for name in names if name in lower), None)
        if there is not None and there not in (first, second):
            roles[role] = there
    if "lab" not in roles:
        raise UserError(
            f"{path} has no column label; it has {_some(types)}\n"
            f"name it: --map {first}={first},{second}={second},labels=COLUMN"
        )
    return roles, (first, second)


def _two(path: Path, features: list[str], types: Any, options: ReadOptions) -> tuple[str, str]:
    if options.views:
        for view in options.views:
            if view not in features:
                raise UserError(
                    f"{path} has no list column {view!r}{did_you_mean(view, types)}; it has {_some(features)}"
                )
        return options.views[0], options.views[1]
    if len(features) != 2:
        raise UserError(
            f"{path} has {plural(len(features), 'column')} of lists, where two are the views; its columns: "
            f"{_some(types)}\nname them: --map audio=COLUMN,visual=COLUMN,labels=COLUMN"
        )
    if set(features) == set(VIEWS):
        return VIEWS
    return features[0], features[1]


def _read(path: Path, columns: list[str], label: str) -> dict[str, Array]:
    """Columns of a table: lists as [N, D], others as [N]; lists in the column of labels as [N] tuples.

    Raises:
        UserError: it is damaged, does not fit the memory, or a column is of another kind.
    """
    found: dict[str, list[Array]] = {column: [] for column in columns}
    done, held_bytes, most = 0, 0, available_memory() // 2
    with _reading(path, columns) as table:
        for batch in _batches(path, table, columns):
            batch.validate(full=True)  # offsets that lie outside of the values would end the process
            for column in columns:
                part, where = batch.column(batch.schema.get_field_index(column)), f"{path}: {column}"
                is_labels = column == label and _is_list(part.type, words=True)
                held_bytes += 64 * len(part.flatten()) if is_labels else 0
                part = _tuples(part, where) if is_labels else _values(part, where, done)
                held_bytes += part.size * (64 if part.dtype.kind == "O" else part.dtype.itemsize)
                if found[column] and part.shape[1:] != found[column][0].shape[1:]:
                    raise UserError(f"{path}: {column} has lists of different lengths; features have one length")
                found[column].append(part)
            done += len(batch)
            if held_bytes > most:
                raise UserError(
                    f"{path} needs more than {most / 2**30:,.1f} GiB of memory, half of what is available here"
                )
    if not found[columns[0]]:
        raise UserError(f"{path} has no rows")
    return {column: np.concatenate(parts) for column, parts in found.items()}


def _features(files: Sequence[Path], counts: Sequence[int], column: str, where: str) -> Declared:
    """A column of lists in files of so many rows, as [N, D]; it is read some rows at a time.

    Raises:
        UserError: it is damaged, or of another kind.
    """
    first = next(_parts(files[0], column), None)
    if first is None or first.ndim != 2:
        return held(where, np.concatenate([part for file in files for part in _parts(file, column)]))
    shape = (sum(counts), first.shape[1])
    needed = shape[0] * max(shape[1], 1) * first.dtype.itemsize
    if needed > MOST_PACKED * sum(file.stat().st_size for file in files) + SMALL:
        raise UserError(f"{where} declares {size(needed)} and the file cannot hold so much; it is damaged")

    def blocks() -> Iterator[Array]:
        for file, count in zip(files, counts, strict=True):
            found = 0
            for part in _parts(file, column):
                found += len(part)
                if part.shape[1:] != shape[1:]:
                    raise UserError(f"{file}: {column} has lists of different lengths; features have one length")
                if found > count:
                    break
                yield part
            if found != count:
                raise UserError(f"{file}: {column} and the labels have different numbers of rows; the file is damaged")

    return Declared(where, shape, first.dtype, lambda: np.concatenate(list(blocks())), blocks=blocks)


def _parts(path: Path, column: str) -> Iterator[Array]:
    """The values of a column, some rows at a time."""
    done = 0
    with _reading(path, [column]) as table:
        for batch in _batches(path, table, [column]):
            batch.validate(full=True)  # offsets that lie outside of the values would end the process
            whole = batch.column(batch.schema.get_field_index(column))
            for start in range(0, len(whole), _BATCH):
                yield _values(whole.slice(start, _BATCH), f"{path}: {column}", done + start)
            done += len(whole)


def _batches(path: Path, table: Any, columns: list[str]) -> Iterator[Any]:
    if hasattr(table, "iter_batches"):
        yield from table.iter_batches(batch_size=_BATCH, columns=columns, use_threads=False)
        return
    for number in range(table.num_record_batches):
        yield table.get_batch(number).select(columns)


def _is_list(kind: Any, *, words: bool = False) -> bool:
    import pyarrow as pa

    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    value = kind.value_type if lists else None
    if lists and words and (pa.types.is_string(value) or pa.types.is_large_string(value)):
        return True
    return bool(lists) and bool(pa.types.is_floating(value) or pa.types.is_integer(value))


def _tuples(column: Any, where: str) -> Array:
    """The list of each row, as [N] tuples.

    Raises:
        UserError: values are missing.
    """
    if column.null_count or column.flatten().null_count:
        raise UserError(f"{where} lacks values")
    made = np.empty(len(column), object)
    for row, labels in enumerate(column.to_pylist()):
        made[row] = tuple(labels)
    return made


def _columns_of(labels: Sequence[Array]) -> list[Array] | None:
    """The lists as columns, one a class, where all are of one length, at least 2, and hold 0 and 1 or no whole numbers;
    None where they are lists of labels."""
    if not all(is_lists(one) for one in labels):
        return None
    rows = [row for one in labels for row in one]
    values = {value for row in rows for value in row}
    if len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        return None
    if values <= {-1, 0, 1} or any(isinstance(value, float) for value in values):
        return [np.array([list(row) for row in one]) for one in labels]
    return None


def _values(column: Any, where: str, start: int = 0) -> Array:
    """A column of a batch, whose first row is the row `start` of the file.

    Raises:
        UserError: values are missing, lists differ in length, or it is of another kind.
    """
    import pyarrow as pa

    kind = column.type
    if column.null_count:
        first = int(np.argmax(np.asarray(column.is_null().to_numpy(zero_copy_only=False))))
        raise UserError(
            f"{where} lacks the value of {plural(column.null_count, 'row')}, the first in row {start + first}, counted "
            "from 0; leave such clips out"
        )
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary_decode(), where, start)
    if _is_list(kind):
        flat = column.flatten()
        if flat.null_count:
            raise UserError(f"{where} lacks values inside of its lists")
        values = np.asarray(flat.to_numpy(zero_copy_only=False))
        lengths = np.asarray(column.value_lengths().to_numpy(zero_copy_only=False))
        if len(np.unique(lengths)) > 1 or len(values) != lengths.sum():
            raise UserError(f"{where} has lists of different lengths; features have one length")
        return values.reshape(len(column), -1)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return np.array(column.to_pylist(), object)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    raise UserError(f"{where} is a column of {kind}; lists of numbers, numbers and words are read")


@contextmanager
def _reading(path: Path, columns: Sequence[str] = ()) -> Iterator[Any]:
    """The table of a file while it is open; what pyarrow raises becomes a sentence.

    Args:
        columns: of an Arrow file, those that are read; all when empty.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    is_parquet = head_of(path).startswith(_PARQUET)
    try:
        if is_parquet:
            with path.open("rb") as file:
                yield pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
            return
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file)
            if columns:
                fields = [table.schema.get_field_index(column) for column in columns]
                table = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
            yield table
    except UserError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read; it may be truncated or damaged ({cause(error)})") from error


def _some(names: Any) -> str:
    every = list(names)
    return (", ".join(every[:8]) or "none") + (" ..." if len(every) > 8 else "")
