"""A page on what stands side by side: the methods of a bench, or several studies. It looks as a study's report does,
stands alone, and takes nothing from the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from avtune import __version__
from avtune.report.board_plots import cost_picture, groups_picture, intervals_picture
from avtune.report.compared import Compared
from avtune.report.page_payload import as_script

_HTML = Path(__file__).parent / "html"
_SCRIPTS = ("core", "chart_board")


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        link: where its text leads; empty for nowhere.
        strong: stands out.
    """

    text: str
    link: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        header: of its columns; may be empty.
        named: the first cell of each row is its heading.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    named: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart of `html/chart_board.js`, and the picture of it for paper and readers without scripts."""

    id: str
    title: str
    height: int
    alt: str
    picture: Markup


@dataclass(frozen=True)
class Diagram:
    """A picture that is no chart: an `<svg>` element in the colour of the text, and what it shows in words."""

    title: str
    alt: str
    picture: Markup


@dataclass(frozen=True)
class Section:
    """A part of the page below its result."""

    id: str
    title: str
    text: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    diagram: Diagram | None = None
    table: Table | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardPage:
    """What the page says.

    Attributes:
        title: its heading.
        about: a few words below it.
        verdict: a sentence for each group that can be ranked.
        warnings: what is wrong or missing.
        sections: below the result.
        boards: the data of the charts, in the order in which `charts` numbers them; without any, the page has no
            scripts.
    """

    title: str
    about: str
    verdict: tuple[str, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    boards: tuple[Compared, ...] = field(default=())


def render(page: BoardPage) -> str:
    """The HTML. The same page gives the same bytes."""
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_file("board.html"))
    return template.render(
        page=page,
        version=__version__,
        # Safe: files of ours, and JSON in which no character can end the element that it stands in.
        style=Markup(_file("style.css")),
        payload=Markup(as_script({"winner": None, "boards": [_data(one) for one in page.boards]})),
        echarts=Markup(_file("echarts/echarts.min.js")),
        script=Markup("\n".join(_file(f"{name}.js") for name in _SCRIPTS)),
    )


def charts(board: Compared, place: int, interval: str) -> tuple[Chart, ...]:
    """MAP with intervals; of several rows also groups, where they were tested, and cost against MAP.

    Args:
        place: of the board on its page, from 0.
        interval: what its intervals are.
    """
    rows = board.rows
    height = 100 + 26 * len(rows)
    means = [(row, row.scores[0].mean) for row in rows if row.scores[0] is not None]
    told = ", ".join(f"{row.name} {mean:.4f}" for row, mean in means)
    # Safe: drawn by us from numbers and names, which matplotlib escapes.
    made = [
        Chart(f"map-{place}", f"Test MAP, {interval}", height, f"Test MAP: {told}.", Markup(intervals_picture(board)))
    ]
    if len(rows) < 2:
        return tuple(made)
    if all(row.group for row in rows):
        alt = "Groups between which no difference was found: " + ", ".join(f"{row.name} {row.group}" for row in rows)
        title = "Groups: between rows with a dot in the same column no difference was found"
        made.append(Chart(f"groups-{place}", title, height - 20, f"{alt}.", Markup(groups_picture(board))))
    costs = ", ".join(f"{row.name} {row.seconds:.0f} s, {mean:.4f}" for row, mean in means)
    title = "Cost against MAP; dashed: the best for so many device seconds"
    made.append(
        Chart(f"cost-{place}", title, 380, f"Device seconds and test MAP: {costs}.", Markup(cost_picture(board)))
    )
    return tuple(made)


def plain(header: Sequence[str], rows: Sequence[Sequence[str]], *, named: bool = False) -> Table:
    """A table of text."""
    return Table(tuple(header), tuple(tuple(Cell(text) for text in row) for row in rows), named)


def alike(board: Compared) -> str:
    """A sentence: which is best, and from which others no difference was found; those are tested only in groups."""
    best, others = board.rows[0], board.rows[1:]
    score = best.scores[0]
    assert score is not None
    half = f" ± {score.half_width:.4f}" if score.half_width is not None else ""
    sentence = f"{best.name} has the highest test MAP, {score.mean:.4f}{half}."
    if not others:
        return f"{best.name} has a test MAP of {score.mean:.4f}{half}; there is nothing to compare it with yet."
    if not best.group:
        return f"{sentence} No difference was tested."
    same = [row.name for row in others if set(row.group) & set(best.group)]
    if not same:
        return f"{sentence} A difference from every other one was found."
    return f"{sentence} No difference was found from {_listed(same)}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _data(board: Compared) -> dict[str, object]:
    return {
        "series": board.series,
        "rows": [
            {
                "name": row.name,
                "group": row.group,
                "seconds": row.seconds,
                "points": [
                    None if score is None else [score.mean, *(score.interval or (None, None))] for score in row.scores
                ],
            }
            for row in board.rows
        ],
    }


@cache
def _file(name: str) -> str:
    return (_HTML / name).read_text(encoding="utf-8")
