"""`leaderboard.csv`: a leaderboard for further use, with all digits."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from avtune.study.by_class import MACRO, MEASURES
from avtune.study.results import Results
from avtune.study.scores import HEADLINE, Score
from avtune.workflows.bench.board import Board
from avtune.workflows.bench.folder import trials_of

_COLUMNS = (
    *("rank", "method", "group"),
    *(f"{name}{end}" for name in (*HEADLINE, "default_map", "untrained_map") for end in ("", "_low", "_high")),
    *("map_queries_low", "map_queries_high", "gain", "gain_p", "validation_map", "search_seconds"),
    *("trials", "epochs", "seeds", "retrained_epochs", "dataset", "dataset_digest", "problems"),
)
_OTHERS = (MACRO, *MEASURES)  # means of both directions
_SELECTED_ON = ("selected_on",)
VERSION = 3
"""Of the columns: version 1 lacks those of the other measures and `selected_on`, version 2 the latter. Both say of a
reference row, which is not searched, that it has the trials of the others."""


def comma_separated(board: Board, *, version: int = VERSION) -> str:
    """`leaderboard.csv`: a line a method, with all digits.

    Args:
        version: see `VERSION`.
    """
    columns = _COLUMNS + _OTHERS * (version > 1) + _SELECTED_ON * (version > 2)
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for place, (row, group, gain_p) in enumerate(zip(board.rows, board.letters, board.gain_p, strict=True), 1):
        writer.writerow(
            {"rank": place, "method": row.method, "group": group}
            | _score_columns(row.results)
            | {"gain": row.gain, "gain_p": gain_p, "search_seconds": row.seconds}
            | _run_columns(board.about, row.results)
            | ({"trials": trials_of(row.method, board.about)} if version > 2 else {})
            | dict((row.measures or {}).get("mean", {}))
        )
    return out.getvalue()


def _score_columns(results: Results) -> dict[str, float | None]:
    """Means and intervals; a row that has no default or untrained network leaves these columns empty."""
    assert results.test.map.bootstrap is not None
    assert results.validation is not None
    scores = dict(results.test.items())
    scores |= {"default_map": results.default.map} if results.default is not None else {}
    scores |= {"untrained_map": results.untrained.map} if results.untrained is not None else {}
    low, high = results.test.map.bootstrap
    return {f"{name}{end}": value for name, score in scores.items() for end, value in _span(score).items()} | {
        "map_queries_low": low,
        "map_queries_high": high,
        "validation_map": results.validation.mean,
    }


def _run_columns(about: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """What was run, and on which dataset."""
    return {
        **{key: about[key] for key in ("trials", "epochs", "seeds")},
        "retrained_epochs": results.epochs,
        "selected_on": results.selected_on,
        "dataset": about["dataset"]["name"],
        "dataset_digest": about["dataset"]["digest"],
        "problems": "; ".join(results.problems or ()),
    }


def _span(score: Score) -> dict[str, float | None]:
    """The ends of three columns, and their values."""
    low, high = score.interval or (None, None)
    return {"": score.mean, "_low": low, "_high": high}
