"""Searches of `benchmarks.psd_examined` that are kept in a file beside its reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import _kept_lines, _report
from benchmarks._psd_cells import Cell
from benchmarks._searches import Found


class KeptSearches:
    """The searches of a file that were made with these settings.

    Args:
        path: the file; None keeps nothing.
        settings: trials, epochs and seeds of the retraining; searches of the file with others do not count.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, int]) -> None:
        self._path = path
        self._settings = dict(settings)
        lines = _kept_lines.read(path) if path is not None and path.exists() else []
        self.lines = [line for line in lines if line["settings"] == self._settings]

    @property
    def found(self) -> dict[Cell, Found]:
        """What each search gave."""
        return {
            Cell(**line["cell"]): Found(**line["found"] | {"test": tuple(line["found"]["test"])}) for line in self.lines
        }

    @property
    def in_order(self) -> dict[Cell, Found]:
        """What is there, in the order of the tables."""
        return dict(sorted(self.found.items(), key=lambda item: (str(item[0].place.parent), item[0].seed)))

    def add(self, cell: Cell, found: Found) -> None:
        """Keeps a search, with when and where it was made."""
        line: dict[str, Any] = {"cell": asdict(cell), "settings": self._settings, "found": asdict(found)}
        line |= {"date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": _report.commit()}
        line["machine"] = _report.machine(["torch", "optuna"])
        self.lines.append(line)
        if self._path is not None:
            _kept_lines.add(self._path, line)

    def made_when(self) -> str:
        """Dates, commits and machines of the searches, for the report."""
        date, commit, machine = (
            "; ".join(sorted({str(line[name]) for line in self.lines})) for name in ("date", "commit", "machine")
        )
        return f"The {len(self.lines)} searches are of {date} ({commit}), on {machine}."
