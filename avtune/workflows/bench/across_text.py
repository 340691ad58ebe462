"""The words and the cells of a comparison over data sets, for the terminal, the page and papers."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence

from avtune.core.protocol import PUBLISHED, SELECTED_ON_TEST
from avtune.metrics.across import RESAMPLES
from avtune.report.text import escaped, table
from avtune.workflows.bench.across import Across, Source
from avtune.workflows.bench.board import LEVEL
from avtune.workflows.bench.leaderboard import made_with, p_text
from avtune.workflows.bench.leaderboard import title as title_of_bench

TITLE = "Across data sets"
_FEW_SETS, _FEW_SEEDS = 10, 10
"""Up to so many data sets, or seeds, it is said that they are few."""


def about(found: Across) -> str:
    """`21 methods over 3 data sets: demo, ...`."""
    label = f", {SELECTED_ON_TEST}" if found.sources[0].about.get("protocol") == PUBLISHED else ""
    names = ", ".join(title_of_bench({**one.about, "protocol": None}) for one in found.sources)
    return f"{len(found.methods)} methods over {len(found.sources)} data sets: {names}{label}"


def head(found: Across) -> tuple[str, ...]:
    """The columns of the table of ranks."""
    return ("", "method", "mean rank", *found.labels, "group")


def cells(found: Across) -> list[list[str]]:
    """The table's rows, a cell for each of `head`: mean test MAP, in brackets the rank."""
    return [
        [
            str(place + 1),
            name,
            rank_text(found, place),
            *(f"{found.map[at, place]:.4f} ({found.ranks[at, place]:g})" for at in range(len(found.sources))),
            group,
        ]
        for place, (name, group) in enumerate(zip(found.methods, found.letters, strict=True))
    ]


def rank_text(found: Across, place: int) -> str:
    """`2.33 [2.00, 2.67]`: the mean rank with its interval, where there is one."""
    return _with_ends(
        found.mean_ranks[place], float(found.rank_interval.low[place]), float(found.rank_interval.high[place])
    )


def improvement_head(found: Across) -> tuple[str, ...]:
    """The columns of the table of probabilities of improvement."""
    return ("method", *(f"over {found.methods[rival]}" for rival in found.rivals))


def improvement_cells(found: Across) -> list[list[str]]:
    """A cell for each of `improvement_head`; empty for a method against itself."""
    return [
        [name, *("" if rival == place else improvement_text(found, place, rival) for rival in found.rivals)]
        for place, name in enumerate(found.methods)
    ]


def improvement_text(found: Across, one: int, other: int) -> str:
    """`0.17 [0.04, 0.31]`."""
    ends = found.improvement_interval
    return _with_ends(found.improvement[one, other], float(ends.low[one, other]), float(ends.high[one, other]))


def verdict(found: Across) -> list[str]:
    """What was found: sentences for a reader in a hurry."""
    best, sets = found.mean_ranks[0], len(found.sources)
    shared = [name for name, rank in zip(found.methods, found.mean_ranks, strict=True) if rank - best < 1e-9]
    have = "has" if len(shared) == 1 else "have"
    of = f"of {len(found.methods)} methods over {sets} data sets"
    first = f"{_listed(shared)} {have} the best mean rank, {best:.2f}, {of}."
    return [first, f"{_friedman_text(found)} {_pairs_text(found)}"]


def _friedman_text(found: Across) -> str:
    said = "finds that methods differ" if found.friedman.p < LEVEL else "finds no difference between the methods"
    f = "infinite" if math.isinf(found.friedman.f) else f"{found.friedman.f:.2f}"
    degrees = " and ".join(map(str, found.friedman.degrees))
    p = f"{p_text(found.friedman.p)} over {orders_text(found)}"
    return f"Friedman's test {said} (F {f} with {degrees} degrees of freedom; {p})."


def orders_text(found: Across) -> str:
    """What p of Friedman's test is a share of."""
    rounds = found.friedman.rounds
    return f"{'all' if rounds is None else f'{rounds:,} random'} orders of the ranks within data sets"


def _pairs_text(found: Across) -> str:
    """Which two methods differ; where none do, what could have been seen."""
    best, critical = found.methods[0], f"{found.critical:.2f}"
    if found.too_few:
        return _too_few_text(found)
    apart = [name for name, differs in zip(found.methods, found.differ[0], strict=True) if differs]
    if len(apart) == len(found.methods) - 1:
        return f"A difference was found between {best} and every other method."
    if apart:
        return f"A difference was found between {best} and {_listed(apart)}, from the others none."
    if found.differ.any():
        return f"No difference was found between {best} and any other method, but between others (see the groups)."
    if found.friedman.p >= LEVEL:
        return "So none is looked for between two of them."
    widest = float(found.mean_ranks.max() - found.mean_ranks.min())
    return (
        f"No two of them were found to differ: mean ranks would have to be {critical} apart, and the widest gap is "
        f"{widest:.2f}."
    )


def _too_few_text(found: Across) -> str:
    sets, methods = len(found.sources), len(found.methods)
    said = "could not have shown a difference between any two methods"
    if found.critical > methods - 1:
        return (
            f"So few data sets {said}: mean ranks would have to be {found.critical:.2f} apart, and those of {methods} "
            f"methods are {methods - 1} apart at most."
        )
    tied = math.factorial(methods) ** (sets - 1) * LEVEL > 1
    return (
        f"So few data sets{' with so many equal scores' * tied} {said}: where all of them agree, Friedman's test "
        f"gives {p_text(found.friedman.least)}."
    )


def reading(found: Across) -> list[str]:
    """What must be known to read the tables, a sentence or two each."""
    sets = len(found.sources)
    lines = [
        "Ranks are by mean test MAP over the seeds on each data set (1 is the best, equal ones share a rank); "
        + _ends_text(found),
        f"group: between methods that share a letter no difference was found at {LEVEL:g}: Friedman's test (Iman and "
        f"Davenport's F; p is the share of {orders_text(found)} that agree at least as much), then Nemenyi's, for "
        f"which mean ranks must be {found.critical:.2f} apart (Demšar 2006). That is not to say that there is none.",
    ]
    if sets <= _FEW_SETS:
        few = (
            f"{sets} data sets are few: Nemenyi's test is an approximation for many, and both take them to be "
            "independent."
        )
        lines.append(few + _signed_ranks(sets))
    return [
        *lines,
        "Ranks, and what is found, depend on which other methods are in (Benavoli et al. 2016).",
        "Probability of improvement: that a run of the row's method scores higher than one of the other's, mean over "
        "the data sets; equal runs count half (Agarwal et al. 2021). A run is a retraining of the winner of one "
        "search: another search may find another winner." + _WITHOUT_WIDTH * _has_points(found),
    ]


_WITHOUT_WIDTH = (
    " An interval without width: on each data set every run of one is above, below or equal to all of the other's."
)


def _has_points(found: Across) -> bool:
    """Whether an interval of a probability of improvement that is shown has no width."""
    ends = found.improvement_interval
    return any(
        ends.low[one, rival] == ends.high[one, rival]
        for rival in found.rivals
        for one in range(len(found.methods))
        if one != rival
    )


def _ends_text(found: Across) -> str:
    """On the intervals, or why there are none."""
    rows = [one.rows[name] for one in found.sources for name in found.methods]
    seeds = min(len(row.results.test.map.seeds) for row in rows)
    if seeds == 1:
        return "where there is one seed there is no interval."
    few = f"; with {seeds} seeds it is too narrow" if seeds <= _FEW_SEEDS else ""
    return (
        f"in square brackets the 95 % interval over the seeds (stratified percentile bootstrap, {RESAMPLES:,} "
        f"resamples{few}): what other seeds would give on these data sets, not what other data sets would."
    )


def _signed_ranks(sets: int) -> str:
    """What a signed-rank test could show of so many data sets, where that is nothing."""
    least = 2.0 ** (1 - sets)
    return f" A signed-rank test of two methods could give no p below {least:g}." * (least >= LEVEL)


def facts(found: Across) -> list[tuple[str, str]]:
    """Names and values for a reader who wants to check or repeat it."""
    words = ["avtune", "across", *(one.folder.root.resolve().name for one in found.sources)]
    rows = [one.rows[name] for one in found.sources for name in found.methods]
    benches = [(one.name, _bench_text(one)) for one in found.sources]
    return [("command", shlex.join(words)), *benches, *made_with(rows)]


def _bench_text(source: Source) -> str:
    of = source.about
    data = of["dataset"]
    return (
        f"{title_of_bench(of)}: {data['train']} training and {data['test']} test clips, digest {source.digest[:12]}; "
        f"{of['trials']} trials, {of['epochs']} epochs, {of['seeds']} seeds; {of['command']}"
    )


def text(found: Across, lay_out: Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]] = table) -> list[str]:
    """The tables for a terminal, and what must be known to read them.

    Args:
        lay_out: makes lines of a header and rows.
    """
    return [
        f"{about(found)}; test MAP, in brackets the rank",
        *lay_out(head(found), cells(found)),
        "",
        "probability of improvement",
        *lay_out(improvement_head(found), improvement_cells(found)),
        "",
        *verdict(found),
        "",
        *reading(found),
        *(f"note: {note}" for note in found.notes),
    ]


def markdown(found: Across, picture: str | None = None) -> str:
    """The comparison as a document.

    Args:
        picture: where its diagram lies, seen from the document; None for nowhere.
    """
    lines = [f"# {TITLE}", "", f"{escaped(about(found))}; test MAP, in brackets the rank.", ""]
    for sentence in verdict(found):
        lines += [escaped(sentence), ""]
    for note in found.notes:
        lines += [f"**Note: {escaped(note)}.**", ""]
    if picture is not None:
        lines += [f"![Critical-difference diagram: {escaped(alt_text(found))}]({picture})", ""]
    lines += [*_markdown_table(head(found), cells(found)), ""]
    lines += [
        "Probability of improvement:",
        "",
        *_markdown_table(improvement_head(found), improvement_cells(found)),
        "",
    ]
    lines += [*(f"- {escaped(line)}" for line in reading(found)), ""]
    return "\n".join([*lines, *_markdown_table(("", ""), facts(found)), ""])


def alt_text(found: Across) -> str:
    """What the diagram shows, for whoever does not see it."""
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(found.methods, found.mean_ranks, strict=True))
    groups = "; ".join(", ".join(found.methods[at] for at in group) for group in found.groups if len(group) > 1)
    alike = f"No difference was found among: {groups}." if groups else "A difference was found between every two."
    return f"Mean ranks: {ranks}. Critical difference {found.critical:.2f}. {alike}"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell if row is lines[1] else escaped(cell) for cell in row) + " |" for row in lines]


def _with_ends(value: float, low: float, high: float) -> str:
    return f"{value:.2f}" + ("" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]")


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values[:-1]) + f" and {values[-1]}" if len(values) > 1 else "".join(values)
