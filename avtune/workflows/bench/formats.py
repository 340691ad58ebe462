"""The formats that a leaderboard can be had in."""

from __future__ import annotations

from collections.abc import Callable, Collection

from avtune.core.errors import UserError, choices, did_you_mean, shown
from avtune.workflows.bench.board import Board
from avtune.workflows.bench.leaderboard_csv import comma_separated
from avtune.workflows.bench.paper import latex_table, markdown_table
from avtune.workflows.bench.result_json import result_json

FORMATS: dict[str, Callable[[Board], str]] = {
    "latex": latex_table,
    "markdown": markdown_table,
    "csv": comma_separated,
    "json": result_json,
}


def checked_format(name: object, allowed: Collection[str] = FORMATS.keys()) -> str:
    """Raises:
    UserError: there is no such format.
    """
    if not isinstance(name, str) or name not in allowed:
        hint = did_you_mean(name, allowed) if isinstance(name, str) else ""
        raise UserError(f"--format is {shown(name)}; allowed: {choices(allowed)}{hint}")
    return name


def formatted(board: Board, name: str) -> str:
    """A leaderboard as text.

    Raises:
        UserError: there is no such format, or the bench has no finished row.
    """
    checked_format(name)
    if not board.rows:
        raise UserError("the bench has no finished method yet; the same command continues it")
    return FORMATS[name](board)
