"""What a search ends with: its result, and the trials that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.cli.data_text import problem_lines
from avtune.core.objective import label as objective_label
from avtune.core.words import plural
from avtune.report.text import over_seeds_text, score_header, score_rows, score_text, seeds_text, still_rises, ties_text

if TYPE_CHECKING:
    from avtune.study.best import Best
    from avtune.study.results import Results
    from avtune.study.study import Study

RETRY = "once the cause is mended, the same command with --retry-failed trains what failed again"


def result_lines(results: Results, best: Best | None) -> list[str]:
    """What ends a search, or a retraining: finalists, winner, test scores, and what a reader must know of them.

    Args:
        results: what `metrics.json` holds.
        best: what `best.yaml` holds; None for a trial that the user chose.
    """
    seeds = f"{plural(len(results.seeds), 'seed')}"
    lines = [] if best is None else _finalist_lines(results, best, seeds)
    if not results.searched:
        lines.append(f"trial {results.trial}, chosen by hand, retrained for {results.epochs} epochs")
    lines += _test_lines(results)
    if results.tied_queries is not None:
        lines.append(ties_text(results.tied_queries))
    lines += problem_lines(results.problems or ())
    lines += [f"note: {sentence}" for sentence in still_rises(results)]
    if results.further_looks:
        lines.append(
            f"note: {results.times_test_was_scored} configurations of this study have been scored on its test split; "
            "say so when you publish"
        )
    if 1 < len(results.seeds) < 3:
        lines.append("note: an interval over two seeds says little; final.seeds is 5 unless you change it")
    return lines


def _finalist_lines(results: Results, best: Best, seeds: str) -> list[str]:
    spread, raced = len(results.seeds) > 1, results.race is not None
    header = ["trial", "epoch", objective_label(best.objective), *["sd"] * spread, *["seeds"] * raced]
    rows = [
        [
            f"{row.called} (default)" if row.is_default and row.trial is not None else row.called,
            str(row.epoch),
            "failed" if row.mean is None else f"{row.mean:.4f}",
            *["" if row.spread is None else f"{row.spread:.4f}"] * spread,
            *([] if results.race is None else [seeds_text(row, results.race)]),
        ]
        for row in best.finalists
    ]
    return [
        f"finalists, repeated over {'' if results.race is None else 'up to '}{seeds} on the validation rows",
        *console.fitting(header, rows),
        "",
        f"winner: trial {best.trial}, retrained on the whole training set for {results.epochs} epochs",
        *["the winner is the default configuration: this search found nothing better"]
        * bool(results.default_is_winner),
    ]


def _test_lines(results: Results) -> list[str]:
    bootstrap = results.test.map.bootstrap
    assert bootstrap is not None
    label, lines = "", []
    if results.label is not None:
        label = f" ({results.label})"
        epochs = ", ".join(map(str, results.best_epochs or ()))
        lines.append(f"each seed keeps the epoch with the best test MAP, as published tables do{label}: {epochs}")
    rows = [[name, *map(score_text, row.shown)] for name, row in score_rows(results)]
    header = ["", *score_header(results)]
    if not console.fits(header, rows):  # a column a row of the table takes less
        header, *rows = [list(cells) for cells in zip(header, *rows, strict=True)]
    return [
        *lines,
        "",
        f"test split{label}: {over_seeds_text(len(results.seeds))}",
        *console.fitting(header, rows),
        *([] if results.objective is None else [f"the search maximised {results.objective} on the validation rows"]),
        f"over the queries (bootstrap) the 95 % interval of map is {bootstrap[0]:.4f} to {bootstrap[1]:.4f}{label}",
    ]


def failed_lines(study: Study) -> list[str]:
    """What a study with failed trials ends with."""
    failed = [record for record in study.records if record.state == "FAIL"]
    if not failed:
        return []
    first = f"first: trial {failed[0].number}: {failed[0].reason}"
    return [
        "",
        f"{len(failed)} of {len(study.records)} trials failed ({first})",
        RETRY,
    ]
