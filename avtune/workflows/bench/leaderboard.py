"""A leaderboard as plain lines and as Markdown, and the words that its page shares with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from avtune.core.protocol import PUBLISHED, SELECTED_ON_TEST
from avtune.core.view_names import VIEWS, views_in, ways
from avtune.core.words import plural
from avtune.finals.reference import NONE
from avtune.report.text import duration, escaped, over_seeds_text, score_text, table, tested_text
from avtune.report.text import p_text as number_text
from avtune.space.settings import AUTO, MOST_STEPS
from avtune.study.asha import rung_epochs
from avtune.study.horizon import GRACE_STEPS
from avtune.workflows.bench.board import LEVEL, POWER, Board, Row
from avtune.workflows.bench.folder import reference_row
from avtune.workflows.bench.overrides import value_of

HEADER = (
    "",
    "method",
    "map",
    *ways(VIEWS).values(),
    "map_running",
    "default",
    "tuned - default",
    "untrained",
    "device s",
    "group",
)
VERSION = 3
"""Of the words of `leaderboard.md`, of which `verify` takes all. 1: from before a protocol, steps and functions changed
them. 2: from before the test was over seeds too, with words that were not true of every race, look at the test split,
single seed, number of swaps, `map_running`, and p just below 0.05."""


def header(about: Mapping[str, Any]) -> tuple[str, ...]:
    """`HEADER` with the names of the dataset's views."""
    names = dict(zip(ways(VIEWS).values(), ways(views_in(about["dataset"])).values(), strict=True))
    return tuple(names.get(one, one) for one in HEADER)


def title(about: Mapping[str, Any]) -> str:
    """The dataset as a published table names it."""
    name = str(about["dataset"]["name"])
    label = f", {SELECTED_ON_TEST}" if about.get("protocol") == PUBLISHED else ""
    return (f"YouTube-8M subset ({name})" if name.lower().startswith("yt8m") else name) + label


def cells(board: Board, *, version: int = VERSION) -> list[list[str]]:
    """The table's rows as text, a cell for each of `HEADER`.

    Args:
        version: see `VERSION`.
    """
    return [
        [
            str(place),
            row.method,
            *map(score_text, row.results.test.shown),
            default_text(row),
            _gain_text(row, gain_p, version),
            untrained_text(row),
            f"{row.seconds:.0f}" if row.seconds >= 10 else f"{row.seconds:.1f}",
            group,
        ]
        for place, (row, group, gain_p) in enumerate(zip(board.rows, board.letters, board.gain_p, strict=True), 1)
    ]


def default_text(row: Row) -> str:
    """Test MAP of the default configuration."""
    default = row.results.default
    return "failed" if default is None else score_text(default.map)


def untrained_text(row: Row) -> str:
    """Test MAP of the winner's network before training; nothing for a training function, which shows none."""
    untrained = row.results.untrained
    return "" if untrained is None else score_text(untrained.map)


def p_text(p: float) -> str:
    """`p 0.012`, or `p < 0.001`."""
    return f"p {number_text(p)}"


def validation_text(about: Mapping[str, Any]) -> str:
    """The rows that configurations are compared on."""
    if "split" in about.get("validation", {}):
        return "the data set's own validation split"
    share = f"{100 * about['fraction']:.3g}% of the training rows"
    sets = about.get("set", ())
    trials = bool(value_of("validation.reshuffle", sets, usual=False))
    finals = bool(value_of("final.reshuffle", sets, trials))
    return {
        (False, False): f"the same {share}",
        (False, True): f"the same {share} (when repeated, others for each seed)",
        (True, False): f"{share}, others for each configuration (when repeated, the same ones)",
        (True, True): f"{share}, others for each configuration and, when repeated, for each seed",
    }[trials, finals]


def _reshuffled(about: Mapping[str, Any]) -> bool:
    """Whether not all runs have the same validation rows."""
    return any(value_of(f"{one}.reshuffle", about.get("set", ()), usual=False) for one in ("validation", "final"))


_OVER_SEEDS = (
    "mean over the seeds with the 95 % interval (Student t over the seeds; zero where a closed-form method gives the "
    "same for every seed). "
)


def notes(board: Board, *, version: int = VERSION) -> list[str]:
    """What must be known to read the table, a sentence or two each.

    Args:
        version: see `VERSION`.
    """
    about = board.about
    published = about.get("protocol") == PUBLISHED and version > 1
    seeds, trials = about["seeds"], about["trials"]
    pairs = len(board.rows) * (len(board.rows) - 1) // 2
    lines = [
        f"Same for every method: {trials} configurations of its space, {length_text(about, version=version)}"
        f"; a closed-form method is solved at once), {validation_text(about)} "
        f"for validation. The {min(about['finalists'], trials)} best are repeated over {seeds} "
        f"seed{'s' * (seeds > 1)} on {'such' if _reshuffled(about) else 'these'} rows, and the best mean wins.",
        f"The winner is retrained on the whole training set over {plural(seeds, 'seed')}"
        + ("" if published else ", and each is scored once on the test split")
        + ". Configurations are compared on validation rows only.",
        "map is exact over all ranks, cosine, gallery = all test clips of the other view: "
        + (_OVER_SEEDS if seeds > 1 or version < 3 else "of one seed, so without an interval over seeds. ")
        + f"map_running averages AP@k over every cut-off k and {'always' if version < 3 else 'usually'} reads higher.",
        "default: the method's default configuration, treated like a finalist (its own epoch, the same seeds). "
        "untrained: the winner's network before training. device s: what the search's epochs took, added over "
        "devices (a CPU core or a GPU each), without finalists and retraining.",
        f"group: between rows that share a letter no difference was found at {LEVEL:g}, by the paired randomisation "
        f"test over the average precision of every test clip (mean over seeds and both directions, "
        f"{swaps_text(board) if version > 2 else f'{board.rounds:,} rounds'}), Holm-corrected over "
        f"{plural(pairs, 'pair')}; that is not to say that there is none. "
        + f"{tested_text(seeds)}. " * (version > 2)
        + "The p-value of tuned against default is by the same test, corrected over the methods.",
        *([f"{detectable}."] if (detectable := detectable_text(board)) else []),
    ]
    if about.get("set"):
        lines.append(f"Set for every method that has it: {_listed(about['set'])}.")
    if about.get("protocol") == PUBLISHED:
        lines.append(
            "Selected on test: every retrained seed was scored on the test split after each of its epochs and kept its "
            "best, as published tables do; compare with such tables only."
        )
    return lines + exceptions(board, version=version)


def exceptions(board: Board, *, version: int = VERSION) -> list[str]:
    """Rows of which not all is true that is said of the methods, a sentence for each kind.

    Args:
        version: see `VERSION`.
    """
    about, lines = board.about, []
    name = reference_row(about.get("reference", NONE))
    if name in about.get("methods", ()):
        lines.append(f"{name}: a plain method's default configuration, not searched.")
    several = [row.method for row in board.rows if row.results.further_looks]
    if several:
        said = "Scored on the test split more than once, each time with another configuration, epochs or seeds"
        if version < 3:
            said = "More than one configuration has been scored on the test split by"
        lines.append(f"{said}: {_listed(several)}.")
    if version == 1:
        return lines
    most = min(about["finalists"], about["trials"])
    more = [f"{row.method} ({row.repeated})" for row in board.rows if row.repeated > most]
    if more:  # what had been repeated before the bench was extended stays in the choice
        said = f"More than {most} configurations were repeated, since the bench was extended, of"
        lines.append(f"{said}: {_listed(more)}.")
    raced = [row.method for row in board.rows if row.results.race is not None]
    if raced and version > 2:
        lines.append(f"Finalists that could not win any more have fewer seeds (a race) of: {_listed(raced)}.")
    own = [row.method for row in board.rows if row.results.untrained is None]
    if own and about["epochs"] == AUTO:
        lines.append(f"Trained for as many epochs as its own space says, not until a curve is flat: {_listed(own)}.")
    return lines


def swaps_text(board: Board) -> str:
    """How a p-value was found: `84,000 rounds`, or `all 256 swaps` where so few clips have no more."""
    clips = len(board.rows[0].ap) if board.rows else 0
    exact = 0 < clips < 63 and 2**clips <= board.rounds
    return f"all {2**clips:,} swaps" if exact else f"{board.rounds:,} rounds"


def detectable_text(board: Board) -> str:
    """How large a difference would have had to be, empty where one was found between all rows."""
    sizes = board.undecided
    if not sizes:
        return ""
    low, high = sizes[0], sizes[-1]
    if low > 1:
        return "so few test clips could not have shown any difference between them"
    span = f"{low:.4f}" if f"{low:.4f}" == f"{high:.4f}" else f"{low:.4f} to {size_text(high)}"
    several = ", by the pair" * (span != f"{low:.4f}")
    seeds = "" if board.about["seeds"] > 1 else " (with the spread over seeds unknown)"
    return (
        f"between such rows these clips and seeds would have shown a difference of {span} MAP{several}, "
        f"{POWER:.0%} of the time{seeds}"
    )


def size_text(value: float) -> str:
    """The smallest difference of MAP that could have been found, as a reader sees it."""
    if np.isnan(value):
        return "not known: nothing scatters"
    return "over 1" if value > 1 else f"{value:.4f}"


def length_text(about: Mapping[str, Any], *, version: int = VERSION) -> str:
    """How long trials train, up to an open bracket with how they are stopped.

    Args:
        version: see `VERSION`.
    """
    factor = about["factor"]
    if about["epochs"] == AUTO:
        sets = about.get("set", ()) if version > 1 else ()
        steps = int(value_of("early_stopping.steps", sets, MOST_STEPS))
        return (
            f"each trained until its curve is flat, for {steps:,} optimiser steps at most (at rungs from "
            f"{about['grace']} epochs on, or {GRACE_STEPS} steps, one trial in {factor} goes on"
        )
    rungs = rung_epochs(about["epochs"], about["grace"], factor)
    stopping = f"after {_listed(rungs)} epochs one trial in {factor} goes on" if rungs else "none is stopped"
    return f"at most {about['epochs']} epochs each ({stopping}"


def gaps(board: Board) -> list[str]:
    """What is wrong with the table: problems of the dataset, and what is missing."""
    lines = problems(board.rows)
    lines += [f"{method} has no row: {reason}" for method, reason in board.failures.items()]
    if board.pending:
        lines.append(f"Unfinished: no result yet of {_listed(board.pending)}. The same command continues.")
    return lines


def problems(rows: Sequence[Row]) -> list[str]:
    """What is wrong with the dataset of these rows and touches their scores, a sentence each."""
    return [f"Problem: {one}." for one in dict.fromkeys(one for row in rows for one in row.results.problems or ())]


def _dims(data: Mapping[str, Any]) -> tuple[Any, ...]:
    first, second = views_in(data)
    return first, data["audio_dim"], second, data["visual_dim"]


def facts(board: Board) -> list[tuple[str, str]]:
    """Names and values for a reader who wants to check or repeat it."""
    about, data = board.about, board.about["dataset"]
    return [
        (
            "dataset",
            f"{title(about)}: {data['train']} training and {data['test']} test clips, {data['classes']} classes, "
            "{} {}-d, {} {}-d".format(*_dims(data)),
        ),
        ("dataset digest", str(data["digest"])),
        ("begun", str(about["begun"])),
        ("command", str(about["command"])),
        ("trials, epochs, seeds", f"{about['trials']}, {about['epochs']}, {about['seeds']}"),
        ("search precision", str(about["precision"]) + ", deterministic" * bool(about["deterministic"])),
        ("search in all", duration(sum(row.seconds for row in board.rows)) + " of device time"),
        *made_with(board.rows),
    ]


def made_with(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The machines and the versions that rows were made with, each named."""
    machines = [row.environment for row in rows]
    packages = {name for one in machines for name in one["versions"]}
    versions = [f"{name} {_distinct(one['versions'].get(name) for one in machines)}" for name in sorted(packages)]
    places = _distinct(
        f"{one['cpu']}, {plural(one['cores'], 'core')}"
        + (f", {len(one['gpus'])} x {one['gpus'][0]}" if one["gpus"] else "")
        for one in machines
    )
    return [("machine", places or "none yet"), ("versions", ", ".join(versions) or "none yet")]


def text(board: Board, lay_out: Callable[[list[str], list[list[str]]], list[str]] = table) -> list[str]:
    """The table for a terminal, with what it lacks.

    Args:
        lay_out: makes lines of a header and rows.
    """
    seeds = board.about["seeds"]
    tested = tested_text(seeds)
    return [
        f"{title(board.about)}: test split, " + over_seeds_text(seeds),
        *lay_out(list(header(board.about)), cells(board)),
        f"between rows that share a letter no difference was found at {LEVEL:g} (paired randomisation test over the "
        "test clips, Holm)",
        f"{tested[0].lower()}{tested[1:]}",
        *([detectable] if (detectable := detectable_text(board)) else []),
        *gaps(board),
    ]


def markdown(board: Board, *, version: int = VERSION) -> str:
    """`leaderboard.md`.

    Args:
        version: see `VERSION`.
    """
    lines = [
        f"# Leaderboard: {escaped(title(board.about))}",
        "",
        *(line for gap in gaps(board) for line in (f"**{escaped(gap)}**", "")),
        _line(header(board.about)),
        "|" + "---|" * len(HEADER),
        *(_line(row) for row in cells(board, version=version)),
        "",
        *(f"- {escaped(note)}" for note in notes(board, version=version)),
        "",
        "| | |",
        "|---|---|",
        *(_line(fact) for fact in facts(board)),
        "",
    ]
    return "\n".join(lines)


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(escaped(value) for value in values) + " |"


def _gain_text(row: Row, p: float | None, version: int) -> str:
    if row.gain is None:
        return ""
    if version < 3 and p is not None:
        p = round(p, 3) if p >= 0.001 else p
    return f"{row.gain:+.4f} ({p_text(p)})" if p is not None else "the default won"


def _listed(values: Sequence[Any]) -> str:
    words = [str(value) for value in values]
    return ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else "".join(words)


def _distinct(values: Any) -> str:
    return " / ".join(dict.fromkeys(str(value) for value in values if value is not None))
