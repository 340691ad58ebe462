"""How far a study is, read without disturbing a search that is running."""

from __future__ import annotations

from typing import Any

from avtune.study.curves import read_curves
from avtune.study.folder import StudyFolder


def read_status(folder: StudyFolder) -> dict[str, Any]:
    """What the study's files say.

    Returns:
        `study`, `dataset`, `method`, `trials` (asked for), `states` (how many of each), `epochs` and `seconds`
        trained, and `best` (`trial`, `epoch`, `val_map`; None before the first epoch).

    Raises:
        UserError: a file is damaged.
    """
    settings = folder.settings()
    lines, _ = read_curves(folder.curves, repair=False)
    states: dict[int, str] = {}
    last: dict[int, int] = {}
    epochs: list[dict[str, Any]] = []
    for line in lines:
        states.setdefault(line["trial"], "RUNNING")
        if "epoch" in line:
            epochs.append(line)
        else:
            states[line["trial"]] = line["state"]
            last[line["trial"]] = line["epochs"]
    counted = [
        line
        for line in epochs
        if line["epoch"] <= last.get(line["trial"], line["epoch"]) and states[line["trial"]] != "FAIL"
    ]
    best = max(counted, key=lambda line: (line["val_map"], -line["trial"], -line["epoch"]), default=None)
    return {
        "study": folder.root.name,
        "dataset": settings["dataset"]["name"],
        "method": settings["space"]["method"],
        "trials": settings["space"]["search"]["trials"],
        "states": {state: list(states.values()).count(state) for state in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")},
        "epochs": len(epochs),
        "seconds": round(sum(line.get("seconds", 0.0) for line in epochs), 3),
        "best": best and {"trial": best["trial"], "epoch": best["epoch"], "val_map": best["val_map"]},
    }
