"""The page of a comparison: the tables that the terminal shows, and charts of the studies that can be ranked."""

from __future__ import annotations

import os
from pathlib import Path

from avtune.core.errors import UserError
from avtune.core.files import update_text, using
from avtune.report.board_page import BoardPage, Cell, Chart, Section, Table, alike, charts, render
from avtune.report.compared import Compared as Board
from avtune.report.compared import Shown
from avtune.workflows.compare import Compared, Comparison
from avtune.workflows.compare_text import by_kind, cells, head, reading

_SERIES = ("retrained winner", "default", "untrained")
_INTERVAL = "mean over the seeds with the 95 % interval (Student t)"
_TITLE = "Comparison of "


def write_compare_page(found: Comparison, path: Path) -> None:
    """Writes the page; names of studies lead to their reports, from where the page lies.

    Args:
        path: does not exist, or is such a page, which is replaced.

    Raises:
        UserError: the file holds something else, or cannot be written.
    """
    with using(path):
        if path.exists() and f"<title>{_TITLE}" not in path.read_text(encoding="utf-8", errors="replace")[:300]:
            raise UserError(f"{path} exists and is no page of a comparison; give another --page")
        update_text(path, compare_page(found, path.parent))


def compare_page(found: Comparison, folder: Path) -> str:
    """The HTML of the page.

    Args:
        folder: where it will lie.
    """
    boards: list[Board] = []
    verdict: list[str] = []
    sections = []
    for place, (title, studies) in enumerate(by_kind(found)):
        drawn: tuple[Chart, ...] = ()
        if ranked := [one for one in studies if one.results is not None]:
            board = Board(_SERIES, tuple(map(_shown, ranked)))
            label = f", {ranked[0].kind[1]}" if ranked[0].kind[1] else ""
            drawn = charts(board, len(boards), _INTERVAL + label)
            verdict.append(f"On {studies[0].dataset}{label}: {alike(board)}")
            boards.append(board)
        sections.append(
            Section(f"data-{place}", title[:1].upper() + title[1:], charts=drawn, table=_table(studies, folder))
        )
    sections.append(Section("reading", "How to read it", notes=tuple(reading(found))))
    page = BoardPage(
        title=f"{_TITLE}{len(found.studies)} studies",
        about=", ".join(one.name for one in found.studies),
        verdict=tuple(verdict) or ("No study has test scores yet.",),
        warnings=tuple(f"Note: {note}." for note in found.notes),
        sections=tuple(sections),
        boards=tuple(boards),
    )
    return render(page)


def _shown(one: Compared) -> Shown:
    assert one.results is not None
    rows = (one.results.test, one.results.default, one.results.untrained)
    return Shown(one.name, tuple(None if row is None else row.map for row in rows), one.group, one.seconds)


def _table(studies: list[Compared], folder: Path) -> Table:
    rows = []
    for one in studies:
        report = one.folder.report_html
        link = Path(os.path.relpath(report, folder)).as_posix() if report.is_file() else ""
        rows.append(tuple(Cell(text, link=link if at == 1 else "") for at, text in enumerate(cells(one))))
    return Table(head(studies), tuple(rows))
