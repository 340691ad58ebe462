"""Runs of `benchmarks.peers` that are kept in a file, a line of JSON each, so that hours can be told in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import _kept_lines
from benchmarks._kept_lines import Line
from benchmarks._peer_task import Task

Found = dict[str, float]


class Kept:
    """The runs of a file; one of them counts for a run only where side, task and machine are the same.

    Args:
        path: the file; None keeps nothing.
        machine: what the seconds depend on: processor, cores, versions of the other tools.
    """

    def __init__(self, path: Path | None, machine: str) -> None:
        self._path, self._machine = path, machine
        self._lines: list[Line] = _kept_lines.read(path) if path is not None and path.exists() else []
        self.used: list[Line] = []
        """The lines behind what `find` and `add` have given, for the report."""

    def find(self, side: str, task: Task) -> Found | None:
        """What this side found at this task, None where it has not been run here."""
        wanted = self._key(side, task)
        for line in self._lines:
            if {key: line[key] for key in wanted} == wanted:
                self.used.append(line)
                return dict(line["found"])
        return None

    def add(self, side: str, task: Task, found: Found, told: dict[str, str]) -> None:
        """Keeps a run.

        Args:
            told: `date`, `commit` and `load` of the run.
        """
        line = self._key(side, task) | {"found": found} | told
        self._lines.append(line)
        self.used.append(line)
        if self._path is not None:
            _kept_lines.add(self._path, line)

    def _key(self, side: str, task: Task) -> Line:
        return {"side": side, "task": {**asdict(task), "data": Path(task.data).stem}, "machine": self._machine}


def measured_when(lines: Sequence[Line]) -> str:
    """Dates, commits and loads of the runs behind a report."""
    dates = sorted({line["date"][:10] for line in lines})
    commits = sorted({line["commit"] for line in lines})
    loads = sorted(float(line["load"]) for line in lines)
    return (
        f"The {len(lines)} runs are of {', '.join(dates)} ({', '.join(commits)}); the load of the machine in the "
        f"minute before them was {loads[0]:.1f} to {loads[-1]:.1f}, median {loads[len(loads) // 2]:.1f}."
    )
