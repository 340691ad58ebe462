"""The page and the picture of a comparison over data sets."""

from __future__ import annotations

import os
from pathlib import Path

from markupsafe import Markup

from avtune.core.errors import UserError
from avtune.core.files import update_text, using
from avtune.report.board_page import BoardPage, Cell, Diagram, Section, Table, plain, render
from avtune.report.rank_diagram import TITLE as DIAGRAM
from avtune.report.rank_diagram import RankDiagram, rank_diagram
from avtune.workflows.bench.across import Across
from avtune.workflows.bench.across_text import (
    TITLE,
    about,
    alt_text,
    cells,
    facts,
    head,
    improvement_cells,
    improvement_head,
    reading,
    verdict,
)

_CAPTION = "Mean ranks, the best on the left; bars join methods between which no difference was found"


def write_across_page(found: Across, path: Path) -> None:
    """Writes the page; names of benches lead to their leaderboards, from where the page lies.

    Args:
        path: does not exist, or is such a page, which is replaced.

    Raises:
        UserError: the file holds something else, or cannot be written.
    """
    _write(path, across_page(found, path.parent), f"<title>{TITLE}", "page of a comparison over data sets", "--page")


def write_across_picture(found: Across, path: Path) -> None:
    """Writes the critical-difference diagram.

    Args:
        path: ends in `.svg`; does not exist, or is such a picture, which is replaced.

    Raises:
        UserError: the name is another, the file holds something else, or cannot be written.
    """
    if path.suffix != ".svg":
        raise UserError(f"--picture is {str(path)!r}; allowed: a name that ends in .svg")
    _write(path, rank_diagram(_diagram(found)) + "\n", f"<title>{DIAGRAM}", "critical-difference diagram", "--picture")


def across_page(found: Across, folder: Path) -> str:
    """The HTML of the page.

    Args:
        folder: where it will lie.
    """
    drawn = _diagram(found)
    # Safe: drawn by us from numbers and names, which matplotlib escapes.
    diagram = Diagram(_CAPTION, drawn.alt, Markup(rank_diagram(drawn, on_page=True)))
    page = BoardPage(
        title=TITLE,
        about=about(found),
        verdict=tuple(verdict(found)),
        warnings=tuple(f"Note: {note}." for note in found.notes),
        sections=(
            Section("ranks", "Mean ranks", diagram=diagram),
            Section("table", "Test MAP, in brackets the rank", table=plain(head(found), cells(found))),
            Section(
                "improvement",
                "Probability of improvement",
                table=plain(improvement_head(found), improvement_cells(found), named=True),
            ),
            Section("reading", "How to read it", notes=tuple(reading(found))),
            Section("facts", "Facts", table=_facts(found, folder)),
        ),
    )
    return render(page)


def _diagram(found: Across) -> RankDiagram:
    ranks = tuple(float(rank) for rank in found.mean_ranks)
    return RankDiagram(found.methods, ranks, found.critical, tuple(found.groups), alt_text(found))


def _facts(found: Across, folder: Path) -> Table:
    pages = {one.name: one.folder.leaderboard_html for one in found.sources}
    rows = []
    for name, value in facts(found):
        page = pages.get(name)
        link = Path(os.path.relpath(page, folder)).as_posix() if page is not None and page.is_file() else ""
        rows.append((Cell(name, link=link), Cell(value)))
    return Table((), tuple(rows), named=True)


def _write(path: Path, content: str, mark: str, what: str, option: str) -> None:
    """Replaces a file that holds `mark`, or makes it."""
    with using(path):
        if path.exists() and mark not in path.read_text(encoding="utf-8", errors="replace")[:1000]:
            raise UserError(f"{path} exists and is no {what}; give another {option}")
        update_text(path, content)
