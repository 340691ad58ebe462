"""The lines of `repeats.jsonl`, one for each run of the finals that is done, checked as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avtune.core.files import read_lines
from avtune.core.schema import fitting

_LINE = {
    "run": str,
    "curve": {str: float},
    "seconds": float,
    "failure?": str,
    "stage?": str,
    "begun?": float,
    "ended?": float,
    "on?": {"device": str, "engine?": str, "node?": str},
}
"""The run's name and what it gave; for people, its stage, when it was under way (seconds since 1970) and where it was
trained last."""


def read_runs(path: Path, *, repair: bool) -> list[dict[str, Any]]:
    """All lines, in the order in which they were written; a run that was done again has several.

    Args:
        repair: as in `read_lines`.

    Raises:
        UserError: the file is damaged.
    """
    lines, _ = read_lines(path, repair=repair)
    return [fitting(line, _LINE, path) for line in lines]
