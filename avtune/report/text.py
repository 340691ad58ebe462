"""Numbers and words as people read them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from avtune.core.view_names import ways
from avtune.core.words import cell_len
from avtune.study.best import Finalist
from avtune.study.results import Race, Results
from avtune.study.scores import Score, Scores

OF_MODELS = "The test is of these trained models: other seeds may give another answer"
OF_SEEDS = (
    "A difference must hold over the seeds too: p is the larger one of that test's and of Welch's t-test with the "
    "variances over clips and over seeds"
)
"""What must be known of a test over the clips: a clip's value is a mean over the seeds, whose scatter is not in it."""


def score_text(score: Score) -> str:
    """`0.5940 ± 0.0030`: the mean, and the half width of its interval over the seeds; one seed has none."""
    half = score.half_width
    return f"{score.mean:.4f}" + (f" ± {half:.4f}" if half is not None else "")


def tested_text(seeds: int) -> str:
    """What the test of a difference is of, where scores are means over so many seeds."""
    return OF_SEEDS if seeds > 1 else OF_MODELS


def over_seeds_text(count: int) -> str:
    """What test scores are of, with how they are printed: `mean over 5 seeds, 95 % interval over the seeds`."""
    return f"mean over {count} seeds, 95 % interval over the seeds" if count > 1 else "one seed"


def p_text(p: float) -> str:
    """`0.012`, or `< 0.001`; with more digits where three would make it look as if it were not below 0.05."""
    if p < 0.001:
        return "< 0.001"
    digits = next((digits for digits in range(3, 9) if p >= 0.05 or round(p, digits) < 0.05), 9)
    return f"{p:.{digits}f}"


def ties_text(share: float) -> str:
    """What a reader of scores must know when this share of the queries, above 0, has ties."""
    return f"{100 * share:.3g} % of the queries have ties; their scores are means over the orders"


def score_header(results: Results) -> list[str]:
    """The columns of the table of test scores, as `Scores.shown` has them."""
    names = ["map", *ways(results.dataset.views).values(), "map_running"]
    if results.objective is None or results.test.objective is None:
        return names
    return [*names, "objective" if "->" in results.objective else results.objective]


def markdown_header(results: Results) -> str:
    """The first two lines of the table of test scores in Markdown; names of views are whatever a data set has."""
    names = [escaped(name).replace("-&gt;", "->") for name in score_header(results)]
    return f"| | {' | '.join(names)} |\n|---|" + "---|" * len(names)


def score_rows(results: Results) -> list[tuple[str, Scores]]:
    """The rows of the table of test scores, each with its name. A row whose epoch was chosen by its test score says
    so."""
    label = f", {results.label}" if results.label is not None else ""
    rows = [
        ("retrained winner" if results.searched else f"retrained trial {results.trial}", results.test, label),
        ("default configuration", results.default, label),
        (f"reference: {results.reference_method}", results.reference, label),
        ("untrained network", results.untrained, ""),
    ]
    return [(name + mark, scores) for name, scores, mark in rows if scores is not None]


def seeds_text(row: Finalist, race: Race) -> str:
    """`5 of 5`, or `2 of 5, cannot win`: over how many seeds a finalist of a race was run."""
    count = race.finalists.get(row.called, len(row.seeds or ()))  # the two files may be of different moments
    return f"{count} of {race.seeds}" + (", cannot win" if row.dropped else "")


def still_rises(results: Results) -> list[str]:
    """What to do where the mean curve of the winner, or of a finalist that may overtake it, still rose at the end of
    the horizon; empty where none did."""
    found = results.still_rises
    if found is None:
        return []
    who = "the winner" if found.trial == results.trial else f"the finalist {found.trial}"
    return [
        f"the mean curve of {who} still rises at its last epoch, {found.epochs}: trials trained too short for their "
        f"best; go on with: {found.command}"
    ]


def short(value: object) -> str:
    """A hyper-parameter's value in a table: four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 7 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def escaped(words: str) -> str:
    """Text that reads the same in Markdown and cannot become markup or leave its table cell."""
    words = " ".join("".join(char if char.isprintable() else " " for char in words).split())
    words = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    words = re.sub(r"([\\`*\[\]!|#~$])", r"\\\1", words)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", words)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Plain aligned columns, of letters that take two cells of a terminal too; those whose cells are all numbers are
    aligned right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(header))]
    right = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(header))]
    return [
        "  ".join(
            " " * (width - cell_len(cell)) + cell if flush else padded(cell, width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]


def padded(cell: str, width: int) -> str:
    """The cell with spaces after it up to so many cells of a terminal."""
    return cell + " " * (width - cell_len(cell))


def _is_number(text: str) -> bool:
    return (
        text.replace("±", "").replace(".", "").replace("-", "").replace(" ", "").replace("e", "").isdigit() or not text
    )
