"""A leaderboard as a paper prints it, in LaTeX or Markdown: a table with a caption that says how it was made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from avtune.core.protocol import PUBLISHED
from avtune.core.view_names import views_in, ways
from avtune.core.words import plural
from avtune.report.text import escaped, tested_text
from avtune.study.scores import Score
from avtune.workflows.bench.board import LEVEL, Board
from avtune.workflows.bench.leaderboard import (
    detectable_text,
    exceptions,
    facts,
    gaps,
    length_text,
    swaps_text,
    title,
    validation_text,
)


def bold(board: Board) -> list[bool]:
    """Of each row, whether no difference was found between it and the best one."""
    return [place == 0 or bool(board.p_values[0, place] >= LEVEL) for place in range(len(board.rows))]


def caption(board: Board) -> str:
    """What a reader must know: data, protocol, seeds, budget, statistics, versions, and the command."""
    about, known = board.about, dict(facts(board))
    data, seeds, trials = about["dataset"], about["seeds"], about["trials"]
    pairs = len(board.rows) * (len(board.rows) - 1) // 2
    several = f"mean over {seeds} seeds ± half of its 95 % interval (Student t)" if seeds > 1 else "one seed"
    detectable = detectable_text(board)
    return " ".join(
        [
            f"Test MAP on {title(about)} ({data['train']} training and {data['test']} test clips, {data['classes']} "
            f"classes), {several}; cosine, all ranks, gallery = all test clips of the other view.",
            f"Budget: {trials} configurations a method, {length_text(about)}); the {min(about['finalists'], trials)} "
            f"best repeated over {plural(seeds, 'seed')} and compared on {validation_text(about)}; the winner "
            f"retrained on the whole training set and {_scored(about)}.",
            "Default: the method's default configuration, treated the same.",
            *exceptions(board),
            f"Bold: no difference from the best row was found; between rows that share a letter none was found either "
            f"({LEVEL:g}, paired randomisation test over the test clips, {swaps_text(board)}, Holm over {pairs} "
            f"pair{'s' * (pairs != 1)}). {tested_text(seeds)}.",
            *([f"{detectable[0].upper()}{detectable[1:]}."] if detectable else []),
            *gaps(board),
            f"Versions: {known['versions']}. Dataset digest {str(data['digest'])[:16]}. Command: {about['command']}",
        ]
    )


def _scored(about: Mapping[str, Any]) -> str:
    if about.get("protocol") == PUBLISHED:
        return "scored on the test split after each of its epochs, of which every seed keeps the best"
    return "scored once on the test split"


def markdown_table(board: Board) -> str:
    """A Markdown table, and the caption below it."""
    rows = _rows(board, lambda text: f"**{text}**", "±", escaped)
    lines = [
        "| " + " | ".join(row) + " |"
        for row in (_header(board, "->", escaped), ["---"] + ["---:"] * 4 + ["---"], *rows)
    ]
    return "\n".join([*lines, "", escaped(caption(board)), ""])


def latex_table(board: Board) -> str:
    """A LaTeX table for the package booktabs."""
    rows = _rows(board, lambda text: rf"\textbf{{{text}}}", r"$\pm$", escaped_latex)
    body = [" & ".join(row) + r" \\" for row in rows]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped_latex(caption(board))}}}",
            r"\begin{tabular}{lrrrrl}",
            r"\toprule",
            " & ".join(_header(board, r" $\to$ ", escaped_latex)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _header(board: Board, arrow: str, escape: Callable[[str], str]) -> list[str]:
    first, second = map(escape, views_in(board.about["dataset"]))
    return ["method", *ways((first, second), arrow).values(), "mean", "default", "group"]


def _rows(board: Board, mark: Callable[[str], str], plus_minus: str, escape: Callable[[str], str]) -> list[list[str]]:
    made = []
    for row, letters, best in zip(board.rows, board.letters, bold(board), strict=True):
        test, default = row.results.test, row.results.default
        shown = [test.map_a2v, test.map_v2a, test.map]
        values = [_score(score, plus_minus, mark if best and score is test.map else None) for score in shown]
        untuned = "failed" if default is None else _score(default.map, plus_minus, None)
        name = escape(row.method)
        made.append([mark(name) if best else name, *values, untuned, letters])
    return made


def _score(score: Score, plus_minus: str, mark: Callable[[str], str] | None) -> str:
    mean, half = f"{score.mean:.4f}", score.half_width
    return (mark(mean) if mark else mean) + (f" {plus_minus} {half:.4f}" if half is not None else "")


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def escaped_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    words = "".join(_LATEX.get(char, char) for char in plain)
    # Two hyphens would become a dash, in a command that a reader types, and so do other pairs another character.
    return re.sub(r"(?<=[-'`,?!])(?=[-'`,])", "{}", words)
