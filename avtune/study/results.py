"""What a finished study's `best.yaml` and `final/metrics.json` hold, read and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import read_yaml, write_text
from avtune.core.schema import fitting
from avtune.study.folder import StudyFolder

_SCORE = {"mean": float, "ci95": (None, [float, float]), "seeds": [float]}
_SCORES = {
    **dict.fromkeys(("map_a2v", "map_v2a", "map_running", "map_running_a2v", "map_running_v2a"), _SCORE),
    "map": {**_SCORE, "bootstrap95": [float, float]},
}
_METRICS = {
    "dataset": {"name": str, "digest": str},
    "problems?": [str],
    "method": str,
    "trial": (int, None),
    "epochs": int,
    "seeds": [int],
    "precision": str,
    "selected_on": str,
    "times_test_was_scored": int,
    "test": _SCORES,
    "tied_queries?": float,
    "default?": _SCORES,
    "default_is_winner?": bool,
    "untrained?": _SCORES,
    "label?": str,
    "still_rises?": {"trial": int, "epochs": int, "command": str},
    "best_epochs?": [int],
    "files?": {str: str},
    "sha256?": str,
    "validation?": {"map": {"mean": float, "sd": float, "seeds": [float]}},
}
_BEST = {
    "trial": int,
    "epoch": (int, None),
    "val_map": (float, None),
    "config": {str: (float, str, bool)},
    "finalists": [
        {
            "trial": (int, "default"),
            "default?": bool,
            "epoch": int,
            "val_map_mean": (float, None),
            "val_map_sd": (float, None),
            "seeds?": [float],
            "failure?": str,
        }
    ],
}


def write_metrics(folder: StudyFolder, facts: Mapping[str, Any]) -> None:
    """Writes `final/metrics.json`, with a digest of all that it says."""
    text = json.dumps({**facts, "sha256": digest_of(facts)}, indent=2, allow_nan=False)
    write_text(folder.metrics, text + "\n")


def digest_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of what `metrics.json` says but for its own `sha256`, in one order and spelling."""
    told = {key: value for key, value in facts.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digests(folder: StudyFolder) -> dict[str, str]:
    """SHA-256 of the files beside `final/metrics.json` that its scores come from, by name."""
    files = (folder.model, folder.model_config, folder.query_ap, folder.embeddings)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def read_metrics(folder: StudyFolder) -> dict[str, Any] | None:
    """`final/metrics.json`, None before the end.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    return checked_metrics(folder.metrics) if folder.metrics.is_file() else None


def checked_metrics(path: Path) -> dict[str, Any]:
    """A `metrics.json` of a model's folder.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    made: dict[str, Any] = fitting(facts, _METRICS, path)
    return made


def read_best(folder: StudyFolder) -> dict[str, Any] | None:
    """`best.yaml`, None before the finalists are known.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    path = folder.best_yaml
    if not path.is_file():
        return None
    made: dict[str, Any] = fitting(read_yaml(path), _BEST, path)
    return made
