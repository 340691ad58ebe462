"""A file of runs that have been measured, a line of JSON each, so that hours of a benchmark can be made in parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def read(path: Path) -> list[Line]:
    """The lines of a file; one that a kill cut off at the end is left out, and taken out of the file."""
    whole = path.read_text()
    kept = whole[: whole.rfind("\n") + 1]
    if kept != whole:
        path.write_text(kept)
    return [json.loads(line) for line in kept.splitlines()]


def add(path: Path, line: Line) -> None:
    """Adds a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
