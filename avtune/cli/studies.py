"""The table of all studies in a folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtune.cli import console
from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.core.objective import value_of
from avtune.study.folder import StudyFolder
from avtune.study.results import read_results
from avtune.study.status import read_status

_HEADER = ["study", "dataset", "method", "state", "trials", "val MAP", "test MAP", "changed"]


@dataclass(frozen=True)
class StudyRow:
    """A study in the table.

    Attributes:
        facts: as `--json` prints them; with `problem` alone where the study cannot be read.
        changed: when a file of it was written last, in seconds since 1970.
    """

    facts: Mapping[str, Any]
    changed: float


def study_rows(results: Path, names: Collection[str] | None = None) -> list[StudyRow]:
    """The studies in a folder, by name; one that cannot be read says why and hides no other. None is disturbed.

    Args:
        names: of those that count; None for all.
    """
    with using(results, "read"):
        roots = sorted(path.parent for path in results.glob("*/study.yaml"))
    return [_row(StudyFolder(root)) for root in roots if names is None or root.name in names]


def _row(folder: StudyFolder) -> StudyRow:
    changed = 0.0
    for path in (folder.study_yaml, folder.curves, folder.repeats, folder.metrics):
        with contextlib.suppress(OSError):
            changed = max(changed, path.stat().st_mtime)
    try:
        status, results = read_status(folder), read_results(folder)
    except UserError as error:
        return StudyRow({"study": folder.root.name, "problem": str(error).partition("\n")[0]}, changed)
    owner = folder.search_owner()
    state = "running" if owner else "finished" if results is not None else "interrupted"
    scores = None if results is None else results.test.to_json()
    more = {"state": state, "finished": results is not None, "running": owner, "test": scores}
    return StudyRow(status | more, changed)


def study_table(rows: Sequence[StudyRow], columns: int | None = None) -> list[str]:
    """One line for each study, or more where the terminal is narrow.

    Args:
        columns: of the terminal; None for those of standard output.
    """
    sound = [row for row in rows if "problem" not in row.facts]
    lines = console.fitting(_HEADER, [_cells(row) for row in sound], columns) if sound else []
    return [*lines, *(f"{row.facts['study']}: {row.facts['problem']}" for row in rows if "problem" in row.facts)]


def in_a_line(rows: Sequence[StudyRow]) -> str:
    """All studies, for a line that is printed where it differs from the one before: without their ages."""
    return "; ".join(_in_words(row) for row in rows) or "no studies"


def _in_words(row: StudyRow) -> str:
    if "problem" in row.facts:
        return f"{row.facts['study']}: {row.facts['problem']}"
    name, _, _, state, trials, best, test, _ = _cells(row)
    values = [f"val MAP {best}"] * bool(best) + [f"test MAP {test}"] * bool(test)
    return ", ".join([f"{name} {state}", f"{trials} trials", *values])


def _cells(row: StudyRow) -> list[str]:
    one = row.facts
    ended = sum(count for state, count in one["states"].items() if state != "RUNNING")
    best = f"{value_of(one['best']):.4f}" if one["best"] else ""
    best += f" {one['objective']}" if best and "objective" in one else ""
    test = f"{one['test']['map']['mean']:.4f}" if one["test"] else ""
    trials = f"{ended}/{one['trials']}"
    return [one["study"], one["dataset"], one["method"], one["state"], trials, best, test, ago(row.changed)]


def ago(then: float) -> str:
    """`42 s ago`, `3 min ago`, `2 h ago`, `5 d ago`."""
    seconds = max(0, round(time.time() - then))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
