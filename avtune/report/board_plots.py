"""The pictures of a board page for paper and for readers without scripts: what `html/chart_board.js` draws."""

from __future__ import annotations

from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from avtune.report.compared import Compared
from avtune.report.svg import svg_element

_LOOKS = (("#cc3311", "o"), ("#4477aa", "s"), ("#bbbbbb", "d"))


def intervals_picture(board: Compared) -> str:
    """One `<svg>` element: MAP of each row in each series, with the interval over the seeds. The same board gives the
    same bytes, as of the two others."""
    figure, axes = _figure(1.2 + 0.3 * len(board.rows))
    for place, (name, (colour, marker)) in enumerate(zip(board.series, _LOOKS, strict=False)):
        shown = [(at, score) for at, row in enumerate(board.rows) if (score := row.scores[place]) is not None]
        axes.errorbar(
            [score.mean for _, score in shown],
            [at + 0.15 * (place - 1) for at, _ in shown],  # else those of one row would hide each other
            xerr=[score.half_width or 0.0 for _, score in shown],
            color=colour,
            marker=marker,
            markersize=5,
            linestyle="",
            capsize=2,
            label=name,
        )
    _name_rows(axes, [row.name for row in board.rows])
    axes.set_xlabel("test MAP")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return svg_element(figure)


def groups_picture(board: Compared) -> str:
    """A column for each letter: a dot where a row has it, a line from the first to the last of them."""
    figure, axes = _figure(0.8 + 0.3 * len(board.rows))
    letters = sorted({letter for row in board.rows for letter in row.group})
    for at, letter in enumerate(letters):
        held = [place for place, row in enumerate(board.rows) if letter in row.group]
        axes.plot([at, at], [held[0], held[-1]], color="#cccccc", linewidth=3)
        axes.plot([at] * len(held), held, color="#4477aa", marker="o", linestyle="", markersize=7)
    axes.set_xticks(range(len(letters)), letters)
    axes.set_xlim(-0.5, len(letters) - 0.5)
    means = [row.scores[0] for row in board.rows]
    _name_rows(axes, [f"{row.name}  {score.mean:.4f}" for row, score in zip(board.rows, means, strict=True) if score])
    axes.set_xlabel("group")
    return svg_element(figure)


def cost_picture(board: Compared) -> str:
    """Test MAP with its interval against the device seconds of the search; dashed, the best for so many seconds."""
    figure, axes = _figure(4.0)
    found = [(row.seconds, score, row.name) for row in board.rows if (score := row.scores[0]) and row.seconds > 0]
    best: list[tuple[float, float]] = []
    for seconds, score, _ in sorted(found, key=lambda one: (one[0], -one[1].mean)):
        if not best or score.mean > best[-1][1]:
            best.append((seconds, score.mean))
    axes.step([x for x, _ in best], [y for _, y in best], where="post", color="#228833", linestyle="--")
    for seconds, score, name in found:
        axes.errorbar([seconds], [score.mean], yerr=[score.half_width or 0.0], color="#cc3311", marker="o", capsize=2)
        axes.annotate(name, (seconds, score.mean), (6, 3), textcoords="offset points", parse_math=False, fontsize=8)
    if found:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("device seconds of the search")
    axes.set_ylabel("test MAP")
    return svg_element(figure)


def _figure(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _name_rows(axes: Any, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
