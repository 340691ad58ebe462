"""Files of embeddings: the ending of the name says the format."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError, choices
from avtune.core.files import write_bytes
from avtune.data.labels import label_numbers
from avtune.workflows.galleries import CLASS_NAMES, only_numbers

ByView = Mapping[str, npt.NDArray[np.float32]]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.bool_] | None


def check_out(path: Path, *, overwrite: bool = True) -> None:
    """Raises:
    UserError: `write_embeddings` has no format for the ending of that name, there is no folder for it, or the file
        exists and must not be replaced.
    """
    if path.suffix.lower() not in _WRITERS:
        given = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise UserError(f"--out {path} {given}; allowed: {choices(_WRITERS)}, which says the format")
    if not path.parent.is_dir():
        raise UserError(f"the folder {path.parent} does not exist; make it, or give another --out")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; give another --out, or --overwrite")


def check_views(path: Path, count: int) -> None:
    """Raises:
    UserError: so many views do not go into a file of that format.
    """
    if path.suffix.lower() == ".npy" and count > 1:
        raise UserError(f"--out {path}: an .npy file holds one view; choose it with --view, or give an .npz")


def write_embeddings(path: Path, views: ByView, labels: Labels, names: Mapping[int, str] | None = None) -> None:
    """Writes embeddings float32 [N, D] of one view or two, in the format that the ending says:

    - `.npz`: an array for each view, and `labels` [N], or [N, C] of several labels a clip; where all three are there,
      `evaluate.read_embeddings` reads it; `class_names` [C] where the classes have names, not only numbers;
    - `.npy`: the array of one view, without labels;
    - `.csv`: a line a clip: `clip` (its row, from 0), `label` (numbers of several with spaces between),
      `audio_0` ..., `visual_0` ...;
    - `.parquet`: a row a clip: `clip`, `label` (or a list of several), and for each view a list of D float32.

    Args:
        labels: int64 [N], or bool [N, C]; None leaves them out.
        names: of the classes, by their labels.

    Raises:
        UserError: another ending, or there is no folder for the file.
    """
    check_out(path)
    check_views(path, len(views))
    if path.suffix.lower() == ".npz" and labels is not None and _are_names(names or {}):
        assert names is not None
        data = _npz(views, labels, [names[number] for number in range(len(names))])
    else:
        data = _WRITERS[path.suffix.lower()](views, labels)
    write_bytes(path, data, private=False)


def _are_names(names: Mapping[int, str]) -> bool:
    """Whether the labels from 0 on have names that say more than numbers do."""
    return set(names) == set(range(len(names))) and not only_numbers(names.values())


def _npz(views: ByView, labels: Labels, names: Sequence[str] | None = None) -> bytes:
    more = {} if labels is None else {"labels": labels}
    more |= {} if names is None else {CLASS_NAMES: np.array(names)}
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **views, **more)
    return out.getvalue()


def _npy(views: ByView, labels: Labels) -> bytes:
    out = io.BytesIO()
    np.save(out, next(iter(views.values())), allow_pickle=False)
    return out.getvalue()


def _csv(views: ByView, labels: Labels) -> bytes:
    """Numbers with the digits that give the same float again."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f"{view}_{at}" for view, values in views.items() for at in range(values.shape[1])]
    writer.writerow(["clip", *(["label"] if labels is not None else []), *names])
    numbers = None if labels is None else label_numbers(labels)
    for clip, rows in enumerate(zip(*views.values(), strict=True)):
        label = [] if numbers is None else [_words(numbers[clip])]
        writer.writerow([clip, *label, *(str(value) for row in rows for value in row)])
    return out.getvalue().encode()


def _words(label: int | list[int]) -> str:
    return " ".join(map(str, label)) if isinstance(label, list) else str(label)


def _parquet(views: ByView, labels: Labels) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"clip": pa.array(np.arange(len(next(iter(views.values())))))}
    if labels is not None:
        columns["label"] = pa.array(label_numbers(labels))
    for view, values in views.items():
        columns[view] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


_WRITERS: dict[str, Callable[[ByView, Labels], bytes]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".csv": _csv,
    ".parquet": _parquet,
}
