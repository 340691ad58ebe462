"""A leaderboard as JSON, its rows in the shape of MTEB's results, with all digits.

MTEB (Muennighoff et al. 2023) keeps a result of one model on one task as `task_name`, `dataset_revision`, and `scores`:
by split a list with a score of each subset, its `main_score` first. A direction of retrieval is a subset here, and so
is their mean. What MTEB has no place for is beside it: seeds, intervals, defaults, comparisons.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from avtune import __version__
from avtune.core.protocol import VALIDATION
from avtune.study.scores import HEADLINE, Score, Scores
from avtune.workflows.bench.board import LEVEL, POWER, Board, Row
from avtune.workflows.bench.folder import trials_of
from avtune.workflows.bench.leaderboard import facts, gaps
from avtune.workflows.bench.paper import bold, caption

_SUBSETS = {"mean": "", "audio_to_visual": "_a2v", "visual_to_audio": "_v2a"}


def result_json(board: Board) -> str:
    """The text of a JSON file."""
    rows = list(board.rows)
    about = board.about
    found = {
        "benchmark_name": f"avtune bench {about['dataset']['name']}",
        "made_by": f"avtune {__version__}",
        "caption": caption(board),
        "command": about["command"],
        "protocol": _protocol(about),
        "facts": dict(facts(board)),
        "problems": gaps(board),
        "results": [
            _row(board, row, {"rank": place + 1, "group": board.letters[place], "no_difference_from_best": marked})
            for place, (row, marked) in enumerate(zip(rows, bold(board), strict=True))
        ],
        "comparison": {
            "test": "paired randomisation over the test clips, Holm",
            "level": LEVEL,
            "power": POWER,
            "rounds": board.rounds,
            "models": [row.method for row in rows],
            "p_values": board.p_values.tolist(),
            "smallest_detectable": [[_finite(value) for value in line] for line in board.detectable.tolist()],
        },
    }
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def _protocol(about: Mapping[str, Any]) -> dict[str, Any]:
    """What was the same for all rows; `validation` where the data set decides of the rows, whose fraction is none."""
    names = ("trials", "epochs", "seeds", "finalists", "fraction", "grace", "factor", "seed")
    of_data = about.get("validation", {})
    return {
        "name": about.get("protocol", VALIDATION),
        **{key: about[key] for key in names},
        **({"fraction": None} if "split" in of_data else {}),
        "validation": dict(of_data),
        "set": list(about.get("set", ())),
    }


def _row(board: Board, row: Row, place: dict[str, Any]) -> dict[str, Any]:
    results, data = row.results, board.about["dataset"]
    default = results.default
    return {
        "model_name": row.method,
        "task_name": f"{data['name']} audio-visual retrieval",
        "dataset_revision": data["digest"],
        "mteb_version": None,
        "evaluation_time": None,
        "kg_co2_emissions": None,
        "scores": {"test": _subsets(results.test, row.measures)},
        **place,
        "configuration": dict(row.config),
        "trials": trials_of(row.method, board.about),
        "epochs": results.epochs,
        "selected_on": results.selected_on,
        "search_seconds": row.seconds,
        "times_test_was_scored": results.times_test_was_scored,
        "default_scores": None if default is None else {"test": _subsets(default)},
        "gain_p_value": board.gain_p[board.rows.index(row)],
    }


def _subsets(scores: Scores, measures: Mapping[str, Mapping[str, float]] | None = None) -> list[dict[str, Any]]:
    return [
        {
            "hf_subset": name,
            "languages": [],
            "main_score": scores[f"map{end}"].mean,
            **{
                key.removesuffix(end) if end else key: _score(scores[key])
                for key in HEADLINE
                if key in (f"map{end}", f"map_running{end}")
            },
            **({} if measures is None else {"other_measures": dict(measures[end.removeprefix("_") or "mean"])}),
        }
        for name, end in _SUBSETS.items()
    ]


def _score(score: Score) -> dict[str, Any]:
    return score.to_json()


def _finite(value: float) -> float | None:
    """None for a difference that so few clips could not have shown, or that is not known."""
    return value if math.isfinite(value) else None
