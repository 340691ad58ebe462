"""The tables of a study for other programs: CSV, Parquet or JSON, with all digits."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.core.errors import UserError, choices
from avtune.core.files import write_bytes
from avtune.core.objective import VALUE, value_name
from avtune.study.folder import StudyFolder
from avtune.study.results import read_results
from avtune.workflows.study_view import StudyView

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "parquet", "json")
TABLES = ("trials", "curves", "finalists")


def exported(folder: StudyFolder, format: str, table: str | None) -> bytes:
    """A table of a study, or as JSON all that is known of it.

    Args:
        format: one of `FORMATS`.
        table: one of `TABLES`; None for `trials`, and for all of JSON.

    Raises:
        UserError: there is no such format or table, or a file of the study is damaged.
    """
    if format not in FORMATS:
        raise UserError(f"--export is {format!r}; allowed: {choices(FORMATS)}")
    if table is not None and table not in TABLES:
        raise UserError(f"--table is {table!r}; allowed: {choices(TABLES)}")
    view = StudyView(folder.root)
    if format == "json" and table is None:
        return _as_json(_all(view, folder))
    found = _table(view, table or "trials")
    if format == "json":
        return _as_json(_records(found))
    if format == "csv":
        return str(found.to_csv(index=False, lineterminator="\n")).encode()
    out = io.BytesIO()
    found.to_parquet(out, index=False)
    return out.getvalue()


def write_exported(folder: StudyFolder, format: str, table: str | None, path: Path) -> None:
    """Writes what `exported` gives into a file, which is replaced.

    Raises:
        UserError: as `exported`, or the path is a folder or lies inside of none.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file, e.g. --out {path / f'trials.{format}'}")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} does not exist; make it, or give another --out")
    write_bytes(path, exported(folder, format, table), private=False)


def _table(view: StudyView, name: str) -> pd.DataFrame:
    if name == "trials":
        return _trials(view)
    return view.curves.drop(columns="crc", errors="ignore") if name == "curves" else view.finalists


def _trials(view: StudyView) -> pd.DataFrame:
    """`trials.csv`, with the validation MAP and the seconds of the curves, which have all digits."""
    trials, curves = view.trials, view.curves
    if curves.empty or trials.empty:
        return trials
    by_trial = curves.groupby("trial")
    column = value_name(view.objective)
    best = trials["trial"].map(by_trial["val_map" if column == "val_map" else VALUE].max())
    made = trials.assign(**{column: best.where(trials[column].notna())})
    if "seconds" in curves.columns:
        made["seconds"] = trials["trial"].map(by_trial["seconds"].sum()).fillna(0.0)
    return made


def _all(view: StudyView, folder: StudyFolder) -> dict[str, Any]:
    settings, results = folder.settings(), read_results(folder)
    return {
        "study": view.name,
        "state": view.state,
        "dataset": settings["dataset"],
        "space": settings["space"],
        **{name: _records(_table(view, name)) for name in TABLES},
        "results": None if results is None else results.to_json(),
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table; a cell without a value is None."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _as_json(facts: Any) -> bytes:
    return (json.dumps(facts, indent=1, allow_nan=False) + "\n").encode()
