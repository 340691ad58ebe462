"""A comparison over data sets as a paper prints it, in LaTeX: a table with a caption that says how it was made."""

from __future__ import annotations

from avtune.workflows.bench.across import Across
from avtune.workflows.bench.across_text import (
    about,
    cells,
    facts,
    head,
    improvement_cells,
    improvement_head,
    reading,
    verdict,
)
from avtune.workflows.bench.paper import escaped_latex


def latex(found: Across) -> str:
    """A LaTeX table for the package booktabs: mean ranks, MAP and rank on each data set, probability of improvement."""
    header = [*head(found)[1:], *improvement_head(found)[1:]]
    rows = [[*one[1:], *other[1:]] for one, other in zip(cells(found), improvement_cells(found), strict=True)]
    caption = " ".join(
        [f"{about(found)}; test MAP, in brackets the rank.", *verdict(found), *reading(found), *_more(found)]
    )
    lines = [" & ".join(map(escaped_latex, row)) + r" \\" for row in (header, *rows)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped_latex(caption)}}}",
            rf"\begin{{tabular}}{{{'l' * len(header)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _more(found: Across) -> list[str]:
    return [*(f"{note}." for note in found.notes), f"Command: {dict(facts(found))['command']}"]
