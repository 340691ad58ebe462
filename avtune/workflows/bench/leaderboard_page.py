"""`leaderboard.html`: a bench on one page that stands alone, without anything from the network."""

from __future__ import annotations

from avtune.report.board_page import BoardPage, Cell, Section, Table, alike, charts, plain, render
from avtune.report.compared import Compared, Shown
from avtune.report.text import short, tested_text
from avtune.workflows.bench.board import LEVEL, POWER, Board, Row
from avtune.workflows.bench.folder import folder_name
from avtune.workflows.bench.leaderboard import cells, facts, gaps, header, notes, p_text, size_text, title

_SERIES = ("tuned", "default", "untrained")
_INTERVAL = {True: "mean over the seeds with the 95 % interval", False: "one seed"}
"""What the charts show, by whether there are several seeds."""


def leaderboard_page(board: Board) -> str:
    """The page; each method's name leads to the report of its study."""
    compared = Compared(
        _SERIES, tuple(_shown(row, group) for row, group in zip(board.rows, board.letters, strict=True))
    )
    of = len(board.rows) + len(board.failures) + len(board.pending)
    page = BoardPage(
        title=f"Leaderboard: {title(board.about)}",
        about=f"{len(board.rows)} of {of} methods, {board.about['trials']} trials each",
        verdict=(alike(compared),) if board.rows else ("No method has finished yet.",),
        warnings=tuple(gaps(board)),
        sections=(Section("table", "Table", table=_table(board), notes=tuple(notes(board))), *_more(board, compared)),
        boards=(compared,) if board.rows else (),
    )
    return render(page)


def _shown(row: Row, group: str) -> Shown:
    scores = (row.results.test, row.results.default, row.results.untrained)
    return Shown(row.method, tuple(None if one is None else one.map for one in scores), group, row.seconds)


def _table(board: Board) -> Table:
    rows = tuple(
        tuple(
            Cell(text, link=f"{folder_name(board.rows[place].method)}/report.html" if at == 1 else "")
            for at, text in enumerate(row)
        )
        for place, row in enumerate(cells(board))
    )
    return Table(header(board.about), rows)


def _more(board: Board, compared: Compared) -> list[Section]:
    """The sections below the table; without a row there is nothing to draw."""
    made = []
    if board.rows:
        made = [
            Section("charts", "Charts", charts=charts(compared, 0, _INTERVAL[board.about["seeds"] > 1])),
            Section("pairs", "Pairs", (_pairs_text(board),), table=_pairs(board)),
            Section("winners", "Winning configurations", table=_winners(board)),
        ]
    return [*made, Section("facts", "Facts", table=plain((), facts(board), named=True))]


def _pairs_text(board: Board) -> str:
    return (
        f"Holm-adjusted p-values of the paired randomisation test; in bold those below {LEVEL:g}. Where no difference "
        f"was found, the second number is the smallest one of MAP that {POWER:.0%} of such benches would have found. "
        f"{tested_text(board.about['seeds'])}."
    )


def _pairs(board: Board) -> Table:
    names = [row.method for row in board.rows]
    rows = []
    for place, name in enumerate(names):
        row = [Cell(name)]
        for at in range(len(names)):
            p, detectable = float(board.p_values[place, at]), size_text(board.detectable[place, at])
            text = p_text(p).removeprefix("p ") + f" ({detectable})" * (p >= LEVEL)
            row.append(Cell("" if at == place else text, strong=at != place and p < LEVEL))
        rows.append(tuple(row))
    return Table(("", *names), tuple(rows), named=True)


def _winners(board: Board) -> Table:
    texts = [", ".join(f"{name} {short(value)}" for name, value in row.config.items()) for row in board.rows]
    return plain((), [(row.method, text) for row, text in zip(board.rows, texts, strict=True)], named=True)
