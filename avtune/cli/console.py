"""What the command line prints with: lines to standard output, errors to standard error.

Imports nothing heavy, because every command starts with it, `--help` and a misspelt verb included.
"""

from __future__ import annotations

from collections.abc import Sequence

from avtune.core.streams import error, say, show_everything, shown_as, width
from avtune.core.words import cell_len

__all__ = ["error", "fits", "fitting", "say", "show_everything"]


def fits(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the terminal, if it is one, is wide enough for a table."""
    from avtune.report.text import table

    columns = width()
    return columns is None or max(map(cell_len, table(header, rows))) <= columns


def fitting(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int | None = None) -> list[str]:
    """A table in aligned columns (`report.text.table`); where the terminal is too narrow for it, the cells of each row
    one below the other.

    Args:
        header: names of the columns.
        rows: of cells, as many as there are columns.
        columns: of the terminal; None for those of standard output, of which a file has no end.
    """
    from avtune.report.text import padded, table

    cells = [[shown_as(cell) for cell in row] for row in (header, *rows)]
    lines = table(cells[0], cells[1:])
    columns = width() if columns is None else columns
    if columns is None or max(map(cell_len, lines)) <= columns:
        return lines
    names = cells[0]
    wide = max(map(cell_len, names[1:]), default=0)
    lines = []
    for first, *others in cells[1:]:
        lines.append(f"{names[0]} {first}".strip())
        lines += [f"  {padded(name, wide)}  {cell}" for name, cell in zip(names[1:], others, strict=True) if cell]
    return lines
